import t from 'tap';
import { applyReloadable, whatChanged } from '../../../daemon/config/changes.js';
import { settableKeys } from '../../../daemon/config/keys.js';
import { parseConfig, type Override } from '../../../daemon/config/load.js';
import { describeConfig } from '../../../daemon/config/to-config.js';
import { MINIMAL } from './helpers.js';

const parse = (overrides: readonly Override[] = [], text = MINIMAL) =>
  parseConfig(text, 'test.toml', { env: {}, overrides });
const set = (key: string, text: string): Override => ({ key, text, from: '--set' });

/** A value other than the default for every key outside of the archives. */
const others: Readonly<Record<string, string>> = {
  mount: '/other',
  library: 'other.so',
  state_dir: '/s',
  run_dir: '/r',
  'log.level': 'debug',
  'log.format': 'pretty',
  'http.listen': 'off',
  'scheduler.max_actions': '65',
  'scheduler.restore_reserved': '3',
  'scheduler.max_bytes_gib': '1.5',
  'hsm.active_request_timeout_s': '3000',
  'hsm.heartbeat_s': '0.5',
  'hsm.restore_first_progress_s': '10',
  'policy.restore_changed': 'accept',
  'policy.archive_changed': 'overwrite',
  'policy.keep_set_id': 'true',
  'transfer.block_size_mib': '4',
  'transfer.put_blob_max_mib': '1',
  'transfer.ranges_per_file': '2',
  'transfer.workers': '3',
  'transfer.max_requests': '9',
  'transfer.max_buffer_mib': '300',
  'transfer.max_restore_mib_s': '100',
  'transfer.max_archive_mib_s': '50.5',
  'transfer.ca_file': '/ca.pem',
  'transfer.max_tries': '3',
  'transfer.retry_for_s': '60',
  'transfer.stall_timeout_s': '3',
  'jobs.logging_container': 'logs',
  'jobs.stubs_at_once': '3',
  'jobs.listing_streams': '3',
  'jobs.page_size': '7',
  'jobs.checkpoint_s': '3',
  'jobs.window': '30',
  'jobs.file_mode': '0600',
  'jobs.directory_mode': '0700',
  'jobs.uid': '3',
  'jobs.gid': '3',
  'jobs.user_map': '/users',
  'jobs.group_map': '/groups',
  'shutdown.grace_s': '0',
};

t.test('each key is found when it changes, and a reload applies what it says it applies', (t) => {
  t.same(Object.keys(others).sort(), [...settableKeys().keys()].sort(), 'the test knows every key');
  // Otherwise it would follow the number of workers.
  const pinned = set('transfer.max_buffer_mib', '200');
  const before = parse([pinned]);
  t.same(whatChanged(before, parse([pinned])), { applied: [], needRestart: [] });
  for (const { key, reload } of settableKeys().values()) {
    const after = parse([pinned, set(key, others[key] ?? '')]);
    const changes = whatChanged(before, after);
    t.same(changes, reload ? { applied: [key], needRestart: [] } : { applied: [], needRestart: [key] }, key);
    t.same(
      whatChanged(applyReloadable(before, after), after),
      { ...changes, applied: [] },
      `${key}, applied`,
    );
  }
  t.end();
});

t.test('archives need a restart, and are named by their ids', (t) => {
  const more = `${MINIMAL}[[archive]]\nid = 7\ncontainer = "https://b.blob.core.windows.net/abc"\ncredential = { type = "default" }\n`;
  t.same(whatChanged(parse(), parse([], more)).needRestart, ['archive 7']);
  t.same(whatChanged(parse([], more), parse()).needRestart, ['archive 7']);
  const changed = more.replace('/abc', '/abd').replace('managed-identity', 'environment');
  t.same(whatChanged(parse([], more), parse([], changed)).needRestart, [
    'archive 1: credential',
    'archive 7: container',
  ]);
  t.end();
});

t.test('a description holds every key in the units of the file, and no secret', (t) => {
  const config = parse(Object.entries(others).map(([key, text]) => set(key, text)));
  const description = describeConfig(config);
  for (const [key, text] of Object.entries(others)) {
    let at: unknown = description;
    for (const part of key.split('.')) at = (at as Record<string, unknown>)[part];
    t.equal(String(at), text, key);
  }
  t.end();
});

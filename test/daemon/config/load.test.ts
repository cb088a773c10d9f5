import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { defaultBufferMib, defaultWorkers } from '../../../daemon/config/defaults.js';
import { loadConfig, parseConfig, type LoadOptions } from '../../../daemon/config/load.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { ARCHIVE, messageOf, MINIMAL } from './helpers.js';

const parse = (text: string, options: LoadOptions = {}) =>
  parseConfig(text, 'test.toml', { env: {}, ...options });

t.test('a minimal file is completed with the defaults, in the units of the program', (t) => {
  const config = parse(MINIMAL);
  t.same(config, {
    mount: '/mnt/lustre',
    library: 'liblustreapi.so.1',
    stateDir: '/var/lib/lhsm-azblob',
    runDir: '/run/lhsm-azblob',
    archives: [
      {
        id: 1,
        container: 'https://acct.blob.core.windows.net/cold',
        prefix: '',
        naming: 'path',
        credential: { type: 'managed-identity' },
        hierarchical: 'auto',
      },
    ],
    log: { level: 'info', format: 'auto' },
    http: { listen: '127.0.0.1:9464' },
    scheduler: { maxActions: 64, restoreReserved: 16, maxBytes: 256 * 2 ** 30 },
    hsm: { activeRequestTimeoutMs: 3_600_000, heartbeatMs: 30_000, restoreFirstProgressMs: 600_000 },
    policy: { restoreChanged: 'fail', archiveChanged: 'refuse', keepSetId: false },
    transfer: {
      workers: defaultWorkers(),
      blockSizeBytes: 8 * 2 ** 20,
      putBlobMaxBytes: 8 * 2 ** 20,
      rangesPerFile: 4,
      maxRequests: 64,
      maxBufferBytes: defaultBufferMib(defaultWorkers()) * 2 ** 20,
      maxDownloadBytesPerSecond: 0,
      maxUploadBytesPerSecond: 0,
      caFile: undefined,
      maxTries: 8,
      retryForMs: 300_000,
      stallTimeoutMs: 30_000,
    },
    jobs: {
      loggingContainer: undefined,
      stubsAtOnce: 32,
      listingStreams: 4,
      pageSize: 2000,
      checkpointMs: 5_000,
      window: 3_000,
      fileMode: 0o644,
      directoryMode: 0o755,
      uid: 0,
      gid: 0,
      userMap: undefined,
      groupMap: undefined,
    },
    shutdown: { graceMs: 60_000 },
  });
  t.end();
});

t.test('flags win over the environment, the environment wins over the file', (t) => {
  const file = `${MINIMAL.replace('/mnt/lustre', '/from/file')}\n[log]\nlevel = "warn"\n`;
  const env = { LHSM_AZBLOB_MOUNT: '/from/env', LHSM_AZBLOB_LOG_LEVEL: 'debug', LHSM_AZBLOB_SOCKET: '/s' };
  t.equal(parse(file).mount, '/from/file');
  t.equal(parse(file, { env }).mount, '/from/env');
  const both = parse(file, { env, overrides: [{ key: 'mount', text: '/from/flag', from: '--mount' }] });
  t.equal(both.mount, '/from/flag');
  t.equal(both.log.level, 'debug');
  const typed = parse(file, {
    env: { LHSM_AZBLOB_SCHEDULER_MAX_ACTIONS: '128', LHSM_AZBLOB_POLICY_KEEP_SET_ID: 'true' },
  });
  t.equal(typed.scheduler.maxActions, 128);
  t.equal(typed.policy.keepSetId, true);
  t.end();
});

t.test('credentials of every type', (t) => {
  const credential = (text: string, env = {}) =>
    parse(MINIMAL.replace('{ type = "managed-identity" }', text), { env }).archives[0]?.credential;
  t.same(credential('{ type = "default" }'), { type: 'default' });
  t.same(credential('{ type = "environment" }'), { type: 'environment' });
  t.same(credential('{ type = "managed-identity", client_id = "x" }'), {
    type: 'managed-identity',
    clientId: 'x',
  });
  t.same(credential('{ type = "workload-identity", client_id = "c", tenant_id = "t", token_file = "/f" }'), {
    type: 'workload-identity',
    clientId: 'c',
    tenantId: 't',
    tokenFile: '/f',
  });
  t.same(credential('{ type = "sas", file = "/etc/sas" }'), { type: 'sas', file: '/etc/sas' });
  t.same(
    credential('{ type = "account-key", file = "key" , account = "acct"}', {
      CREDENTIALS_DIRECTORY: '/run/c',
    }),
    { type: 'account-key', file: '/run/c/key', account: 'acct' },
    'a bare name is a systemd credential',
  );
  const azurite = MINIMAL.replace('"https://acct.blob.core.windows.net/cold"', '"cold"').replace(
    '{ type = "managed-identity" }',
    '{ type = "connection-string", file = "/etc/cs" }',
  );
  t.match(parse(azurite).archives, [
    { container: 'cold', credential: { type: 'connection-string', file: '/etc/cs' } },
  ]);
  t.end();
});

t.test('an unknown key is named, with its line and the nearest right one', (t) => {
  const cases: readonly [text: string, message: RegExp][] = [
    [
      `${MINIMAL}[scheduler]\nmax_action = 3\n`,
      /line 8: scheduler\.max_action is not a key\. Did you mean scheduler\.max_actions\?/,
    ],
    [
      `${MINIMAL}[hsm]\nheartbeat = 3\n`,
      /line 8: hsm\.heartbeat is not a key\. Did you mean hsm\.heartbeat_s\?/,
    ],
    [`${MINIMAL}[schduler]\n`, /line 7: schduler is not a key\. Did you mean scheduler\?/],
    [
      `max_actions = 3\n${MINIMAL}`,
      /line 1: max_actions is not a key\. It belongs into the table \[scheduler\]/,
    ],
    [
      `${MINIMAL}prefx = "a"\n`,
      /line 7: archive\[1\]\.prefx is not a key\. Did you mean archive\[1\]\.prefix\?/,
    ],
    [`${MINIMAL}[transfer]\nmax_bufer = 3\n`, /Did you mean transfer\.max_buffer_mib\?/],
    [
      MINIMAL.replace('{ type = "managed-identity" }', '{ type = "sas", fil = "/x" }'),
      /line 6: archive\[1\]\.credential\.fil is not a key\. Did you mean archive\[1\]\.credential\.file\?/,
    ],
    [MINIMAL.replace('credential', 'credentials'), /Did you mean archive\[1\]\.credential\?/],
  ];
  for (const [text, message] of cases)
    t.match(
      messageOf(() => parse(text)),
      message,
    );
  t.match(
    messageOf(() => parse(MINIMAL, { env: { LHSM_AZBLOB_LOG_LEVL: 'x' } })),
    /LHSM_AZBLOB_LOG_LEVL is no variable.*Did you mean LHSM_AZBLOB_LOG_LEVEL\?/,
  );
  t.match(
    messageOf(() => parse(MINIMAL, { overrides: [{ key: 'log.levle', text: 'x', from: '--set' }] })),
    /--set: log\.levle is not a key.*Did you mean log\.level\?/,
  );
  t.end();
});

t.test('a mistyped value is named with what was expected', (t) => {
  const cases: readonly [text: string, message: RegExp][] = [
    [
      `${MINIMAL}[scheduler]\nmax_actions = "64"\n`,
      /scheduler\.max_actions must be a number; it is the text "64"/,
    ],
    [`${MINIMAL}[scheduler]\nmax_actions = 0\n`, /scheduler\.max_actions must be at least 1; it is 0/],
    [`${MINIMAL}[scheduler]\nmax_actions = 1.5\n`, /scheduler\.max_actions must be a whole number/],
    [`${MINIMAL}[hsm]\nheartbeat_s = 0\n`, /hsm\.heartbeat_s must be more than 0/],
    [`${MINIMAL}[log]\nlevel = "inf"\n`, /log\.level must be one of .*; it is "inf"\. Did you mean "info"\?/],
    [
      `${MINIMAL}[policy]\nkeep_set_id = 1\n`,
      /policy\.keep_set_id must be true or false; it is the number 1/,
    ],
    [`http = 3\n${MINIMAL}`, /line 1: http must be a table; it is the number 3/],
    [MINIMAL.replace('"/mnt/lustre"', '"mnt"'), /line 1: mount must be an absolute path/],
    [
      MINIMAL.replace('managed-identity', 'managed-identty'),
      /type must be one of .*Did you mean "managed-identity"\?/,
    ],
    [ARCHIVE, /mount is missing\. Say where Lustre is mounted/],
    ['mount = "/m"', /archive is missing\. Add an \[\[archive\]\]/],
    ['mount = "/m"\narchive = []', /archive is missing\. Add an \[\[archive\]\]/],
    [MINIMAL.replace('id = 1\n', ''), /archive\[1\]\.id is missing/],
    ['mount = ', /line 1, column \d+: .*This is not TOML/s],
  ];
  for (const [text, message] of cases)
    t.match(
      messageOf(() => parse(text)),
      message,
    );
  t.match(
    messageOf(() => parse(MINIMAL, { overrides: [{ key: 'log.level', text: 'loud', from: '--log-level' }] })),
    /--log-level: log\.level must be one of/,
  );
  t.end();
});

t.test('everything wrong is said at once, as one error of code CONFIG with its parts', (t) => {
  const text = `mont = "/mnt"\n${ARCHIVE}[log]\nlevel = 3\n[hsm]\nheartbeat_s = 4000\nheart = 1\n`;
  t.throws(() => parse(text), { code: 'CONFIG', op: 'load configuration', hint: /configuration\.md/ });
  try {
    parse(text);
  } catch (error) {
    t.ok(error instanceof LhsmError && error.cause instanceof AggregateError);
    t.match(
      messageOf(() => parse(text)),
      /^test\.toml: 5 errors\n {2}/,
    );
    t.equal(((error as LhsmError).cause as AggregateError).errors.length, 5);
  }
  t.end();
});

t.test('no message shows a secret that somebody put into the file', (t) => {
  const secret = 'sv=2024-01-01&sig=c2VjcmV0';
  for (const text of [
    MINIMAL.replace('/cold"', `/cold?${secret}"`),
    MINIMAL.replace('type = "managed-identity"', `type = "${secret}"`),
    `${MINIMAL}[log]\nlevel = "${secret}"\n`,
    `${MINIMAL}sas = "${secret}\n`,
  ]) {
    t.notMatch(
      messageOf(() => parse(text)),
      /sig=|c2VjcmV0/,
    );
  }
  t.end();
});

t.test('a file is read; one that is not there is a clear error', async (t) => {
  const file = path.join(t.testdir({ 'c.toml': MINIMAL }), 'c.toml');
  t.equal((await loadConfig({ file, env: {} })).mount, '/mnt/lustre');
  t.equal((await loadConfig({ env: { LHSM_AZBLOB_CONFIG: file } })).mount, '/mnt/lustre');
  await t.rejects(loadConfig({ file: `${file}.none`, env: {} }), {
    code: 'CONFIG',
    message: /c\.toml\.none cannot be read/,
    hint: /--config/,
  });
  await writeFile(file, 'mont = 1');
  await chmod(file, 0o600);
  await t.rejects(loadConfig({ file, env: {} }), { code: 'CONFIG', message: /c\.toml: \d errors/ });
});

t.test('workers and their buffers follow the cores, unless they are said', (t) => {
  t.same([1, 2, 8, 17, 64].map(defaultWorkers), [1, 1, 7, 16, 16]);
  t.same([0, 1, 2, 3, 16].map(defaultBufferMib), [128, 128, 128, 192, 1024]);
  const { transfer } = parse(`${MINIMAL}\n[transfer]\nworkers = 8\nmax_restore_mib_s = 1.5\n`);
  t.match(transfer, { workers: 8, maxBufferBytes: 512 * 2 ** 20, maxDownloadBytesPerSecond: 1_572_864 });
  t.equal(parse(`${MINIMAL}\n[transfer]\nworkers = 0\n`).transfer.workers, 0);
  t.end();
});

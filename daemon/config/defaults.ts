// Every default of the configuration, in one place and in the file's own names and units.
// schema.ts uses it; docs, example and JSON schema are generated from there.
import { availableParallelism } from 'node:os';

export const defaults = {
  library: 'liblustreapi.so.1',
  state_dir: '/var/lib/lhsm-azblob',
  run_dir: '/run/lhsm-azblob',
  archive: { prefix: '', naming: 'path', hierarchical: 'auto' },
  log: { level: 'info', format: 'auto' },
  http: { listen: '127.0.0.1:9464' },
  scheduler: { max_actions: 64, restore_reserved: 16, max_bytes_gib: 256 },
  hsm: { active_request_timeout_s: 3600, heartbeat_s: 30, restore_first_progress_s: 600 },
  policy: { restore_changed: 'fail', archive_changed: 'refuse', keep_set_id: false },
  transfer: {
    block_size_mib: 8,
    put_blob_max_mib: 8,
    ranges_per_file: 4,
    max_requests: 64,
    max_restore_mib_s: 0,
    max_archive_mib_s: 0,
    max_tries: 8,
    retry_for_s: 300,
    stall_timeout_s: 30,
  },
  jobs: {
    stubs_at_once: 32,
    listing_streams: 4,
    page_size: 2000,
    checkpoint_s: 5,
    window: 3000,
    file_mode: '0644',
    directory_mode: '0755',
    uid: 0,
    gid: 0,
  },
  shutdown: { grace_s: 60 },
} as const;

/** More would only share the same buffers in smaller pieces: ten fill a card of 7.5 GiB/s over TLS. */
const MAX_WORKERS = 16;

/** `transfer.workers`: the main thread has a core of its own. */
export function defaultWorkers(cores = availableParallelism()): number {
  return Math.min(MAX_WORKERS, Math.max(1, cores - 1));
}

/** `transfer.max_buffer_mib`: enough for one worker, and for each of many. */
export function defaultBufferMib(workers: number): number {
  return Math.max(128, 64 * workers);
}

/** Where the daemon looks for its configuration when neither flag nor environment names a file. */
export const DEFAULT_CONFIG_FILE = '/etc/lhsm-azblob/lhsm-azblob.toml';

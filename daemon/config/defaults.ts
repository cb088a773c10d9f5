// Every default of the configuration, in one place and in the file's own names and units.
// schema.ts uses it; docs, example and JSON schema are generated from there.

export const defaults = {
  library: 'liblustreapi.so.1',
  state_dir: '/var/lib/lhsm-azblob',
  run_dir: '/run/lhsm-azblob',
  archive: { prefix: '', naming: 'path' },
  log: { level: 'info', format: 'auto' },
  http: { listen: '127.0.0.1:9464' },
  scheduler: { max_actions: 64, restore_reserved: 16, max_bytes_gib: 256 },
  hsm: { active_request_timeout_s: 3600, heartbeat_s: 30, restore_first_progress_s: 600 },
  policy: { restore_changed: 'fail', archive_changed: 'refuse', keep_set_id: false },
  transfer: {
    block_size_mib: 8,
    put_blob_max_mib: 8,
    ranges_per_file: 4,
    max_buffer_mib: 128,
    max_tries: 8,
    retry_for_s: 300,
    stall_timeout_s: 30,
  },
  shutdown: { grace_s: 60 },
} as const;

/** Where the daemon looks for its configuration when neither flag nor environment names a file. */
export const DEFAULT_CONFIG_FILE = '/etc/lhsm-azblob/lhsm-azblob.toml';

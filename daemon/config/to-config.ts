// From the file's names and units to the program's, and back again for `config show`. load.ts calls the one,
// control/ and changes.ts the other.
import path from 'node:path';
import { normalisePrefix } from './checks.js';
import { defaultBufferMib, defaultWorkers } from './defaults.js';
import type { ArchiveConfig, Config, CredentialConfig } from './config.js';
import type { FileArchive, FileConfig } from './schema.js';

const KIB = 1024;
const MIB = KIB * KIB;
const GIB = MIB * KIB;

/** `file`: a path, or the bare name of a systemd credential in `credentialsDir`. */
function secretPath(file: string, credentialsDir: string | undefined): string {
  return file.includes('/') || credentialsDir === undefined ? file : path.join(credentialsDir, file);
}

function toCredential(file: FileArchive['credential'], credentialsDir: string | undefined): CredentialConfig {
  switch (file.type) {
    case 'default':
    case 'environment':
      return { type: file.type };
    case 'managed-identity':
      return { type: file.type, ...(file.client_id !== undefined && { clientId: file.client_id }) };
    case 'workload-identity':
      return {
        type: file.type,
        ...(file.client_id !== undefined && { clientId: file.client_id }),
        ...(file.tenant_id !== undefined && { tenantId: file.tenant_id }),
        ...(file.token_file !== undefined && { tokenFile: file.token_file }),
      };
    case 'account-key':
      return {
        type: file.type,
        file: secretPath(file.file, credentialsDir),
        ...(file.account !== undefined && { account: file.account }),
      };
    case 'sas':
    case 'connection-string':
      return { type: file.type, file: secretPath(file.file, credentialsDir) };
  }
}

/** The program's configuration. `credentialsDir` is systemd's CREDENTIALS_DIRECTORY. */
export function toConfig(file: FileConfig, credentialsDir: string | undefined): Config {
  const { hsm, scheduler, policy, transfer, jobs } = file;
  const workers = transfer.workers ?? defaultWorkers();
  return {
    mount: path.resolve(file.mount),
    library: file.library,
    stateDir: path.resolve(file.state_dir),
    runDir: path.resolve(file.run_dir),
    archives: file.archive.map((archive) => ({
      id: archive.id,
      container: archive.container.replace(/\/+$/, ''),
      prefix: normalisePrefix(archive.prefix),
      naming: archive.naming,
      credential: toCredential(archive.credential, credentialsDir),
      hierarchical: archive.hierarchical,
    })),
    log: file.log,
    http: { listen: file.http.listen === 'off' ? undefined : file.http.listen },
    scheduler: {
      maxActions: scheduler.max_actions,
      restoreReserved: scheduler.restore_reserved,
      maxBytes: Math.round(scheduler.max_bytes_gib * GIB),
    },
    hsm: {
      activeRequestTimeoutMs: Math.round(hsm.active_request_timeout_s * 1000),
      heartbeatMs: Math.round(hsm.heartbeat_s * 1000),
      restoreFirstProgressMs: Math.round(hsm.restore_first_progress_s * 1000),
    },
    policy: {
      restoreChanged: policy.restore_changed,
      archiveChanged: policy.archive_changed,
      keepSetId: policy.keep_set_id,
    },
    transfer: {
      workers,
      blockSizeBytes: Math.round(transfer.block_size_mib * MIB),
      putBlobMaxBytes: Math.round(transfer.put_blob_max_mib * MIB),
      rangesPerFile: transfer.ranges_per_file,
      maxRequests: transfer.max_requests,
      maxBufferBytes: Math.round((transfer.max_buffer_mib ?? defaultBufferMib(workers)) * MIB),
      maxDownloadBytesPerSecond: Math.round(transfer.max_restore_mib_s * MIB),
      maxUploadBytesPerSecond: Math.round(transfer.max_archive_mib_s * MIB),
      caFile: transfer.ca_file,
      maxTries: transfer.max_tries,
      // However short the coordinator's patience is: its own error is to reach it in time.
      retryForMs: Math.round(Math.min(transfer.retry_for_s, file.hsm.active_request_timeout_s / 2) * 1000),
      stallTimeoutMs: Math.round(transfer.stall_timeout_s * 1000),
    },
    jobs: {
      loggingContainer: jobs.logging_container?.replace(/\/+$/, ''),
      stubsAtOnce: jobs.stubs_at_once,
      listingStreams: jobs.listing_streams,
      pageSize: jobs.page_size,
      checkpointMs: Math.round(jobs.checkpoint_s * 1000),
      window: jobs.window,
      fileMode: Number.parseInt(jobs.file_mode, 8),
      directoryMode: Number.parseInt(jobs.directory_mode, 8),
      uid: jobs.uid,
      gid: jobs.gid,
      userMap: jobs.user_map,
      groupMap: jobs.group_map,
    },
    shutdown: { graceMs: Math.round(file.shutdown.grace_s * 1000) },
  };
}

function describeCredential(credential: CredentialConfig): Record<string, string> {
  switch (credential.type) {
    case 'default':
    case 'environment':
      return { type: credential.type };
    case 'managed-identity':
      return { type: credential.type, ...(credential.clientId && { client_id: credential.clientId }) };
    case 'workload-identity':
      return {
        type: credential.type,
        ...(credential.clientId && { client_id: credential.clientId }),
        ...(credential.tenantId && { tenant_id: credential.tenantId }),
        ...(credential.tokenFile && { token_file: credential.tokenFile }),
      };
    case 'account-key':
      return {
        type: credential.type,
        file: credential.file,
        ...(credential.account && { account: credential.account }),
      };
    case 'sas':
    case 'connection-string':
      return { type: credential.type, file: credential.file };
  }
}

/** An archive in the file's names: where secrets are, never what they are. */
export function describeArchive(archive: ArchiveConfig): Record<string, unknown> {
  return {
    id: archive.id,
    container: archive.container,
    prefix: archive.prefix,
    naming: archive.naming,
    hierarchical: archive.hierarchical ?? 'auto',
    credential: describeCredential(archive.credential),
  };
}

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

/** A configuration in the file's names and units, complete with defaults: what `config show` prints. */
export function describeConfig(config: Config): Record<string, unknown> {
  const { hsm, scheduler, policy, transfer, jobs } = config;
  return {
    mount: config.mount,
    library: config.library,
    state_dir: config.stateDir,
    run_dir: config.runDir,
    log: { level: config.log.level, format: config.log.format },
    http: { listen: config.http.listen ?? 'off' },
    scheduler: {
      max_actions: scheduler.maxActions,
      restore_reserved: scheduler.restoreReserved,
      max_bytes_gib: scheduler.maxBytes / GIB,
    },
    hsm: {
      active_request_timeout_s: hsm.activeRequestTimeoutMs / 1000,
      heartbeat_s: hsm.heartbeatMs / 1000,
      restore_first_progress_s: hsm.restoreFirstProgressMs / 1000,
    },
    policy: {
      restore_changed: policy.restoreChanged,
      archive_changed: policy.archiveChanged,
      keep_set_id: policy.keepSetId,
    },
    transfer: {
      workers: transfer.workers,
      block_size_mib: transfer.blockSizeBytes / MIB,
      put_blob_max_mib: transfer.putBlobMaxBytes / MIB,
      ranges_per_file: transfer.rangesPerFile,
      max_requests: transfer.maxRequests,
      max_buffer_mib: transfer.maxBufferBytes / MIB,
      max_restore_mib_s: transfer.maxDownloadBytesPerSecond / MIB,
      max_archive_mib_s: transfer.maxUploadBytesPerSecond / MIB,
      ...(transfer.caFile !== undefined && { ca_file: transfer.caFile }),
      max_tries: transfer.maxTries,
      retry_for_s: transfer.retryForMs / 1000,
      stall_timeout_s: transfer.stallTimeoutMs / 1000,
    },
    jobs: {
      ...(jobs.loggingContainer !== undefined && { logging_container: jobs.loggingContainer }),
      stubs_at_once: jobs.stubsAtOnce,
      listing_streams: jobs.listingStreams,
      page_size: jobs.pageSize,
      checkpoint_s: jobs.checkpointMs / 1000,
      window: jobs.window,
      file_mode: octal(jobs.fileMode),
      directory_mode: octal(jobs.directoryMode),
      uid: jobs.uid,
      gid: jobs.gid,
      ...(jobs.userMap !== undefined && { user_map: jobs.userMap }),
      ...(jobs.groupMap !== undefined && { group_map: jobs.groupMap }),
    },
    shutdown: { grace_s: config.shutdown.graceMs / 1000 },
    archive: config.archives.map(describeArchive),
  };
}

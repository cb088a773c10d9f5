// The daemon's configuration as the rest of the program sees it: validated, complete, units in the names.
// schema.ts makes it from TOML, load.ts from file, environment and flags.

/** A secret that no log, error or dump can show; `reveal` is called where it is used. */
export interface Secret {
  reveal(): string;
  toString(): string;
  toJSON(): string;
}

export type CredentialConfig =
  | { readonly type: 'default' }
  | { readonly type: 'managed-identity'; readonly clientId?: string }
  | {
      readonly type: 'workload-identity';
      readonly clientId?: string;
      readonly tenantId?: string;
      readonly tokenFile?: string;
    }
  | { readonly type: 'environment' }
  /** `file` is read again when it changes: SAS tokens rotate. */
  | { readonly type: 'sas'; readonly file: string }
  | { readonly type: 'account-key'; readonly file: string; readonly account?: string }
  | { readonly type: 'connection-string'; readonly file: string };

export interface ArchiveConfig {
  /** 1 or more; 0 stands for every archive id that no other entry names. */
  readonly id: number;
  /** `https://<account>.blob.core.windows.net/<container>`, or a bare name with a connection string. */
  readonly container: string;
  /** Ends with `/` or is empty. */
  readonly prefix: string;
  readonly naming: 'path' | 'fid';
  readonly credential: CredentialConfig;
  /** Whether the account has a hierarchical namespace; `auto` (and nothing) asks it. */
  readonly hierarchical?: 'auto' | boolean;
}

/** `auto`: journald when systemd reads the output, else json. */
export interface LogConfig {
  readonly level: string;
  readonly format: 'auto' | 'json' | 'pretty' | 'journald';
}

export interface Config {
  readonly mount: string;
  readonly library: string;
  /** Holds the journal, one folder a mount. */
  readonly stateDir: string;
  /** Holds the admin socket, one folder a mount. */
  readonly runDir: string;
  readonly archives: readonly ArchiveConfig[];
  readonly log: LogConfig;
  readonly http: { readonly listen: string | undefined };
  readonly scheduler: {
    /** Actions in flight at once. */
    readonly maxActions: number;
    /** Of those, how many only restores may use. */
    readonly restoreReserved: number;
    /** Bytes of files in flight at once; one file larger than that goes alone. */
    readonly maxBytes: number;
  };
  readonly hsm: {
    /** What the MDS has as hsm.active_request_timeout. */
    readonly activeRequestTimeoutMs: number;
    readonly heartbeatMs: number;
    /** How long a restore's first progress is held back. */
    readonly restoreFirstProgressMs: number;
  };
  readonly policy: {
    readonly restoreChanged: 'fail' | 'accept';
    readonly archiveChanged: 'refuse' | 'overwrite';
    readonly keepSetId: boolean;
  };
  readonly transfer: {
    /** Threads that move content; 0 for the main one. */
    readonly workers: number;
    readonly blockSizeBytes: number;
    /** Files up to this size go as one Put Blob. */
    readonly putBlobMaxBytes: number;
    /** Ranges or blocks in flight for one file. */
    readonly rangesPerFile: number;
    /** Requests for content in flight to one account, in each direction. */
    readonly maxRequests: number;
    /** Buffers in memory at once, over all transfers. */
    readonly maxBufferBytes: number;
    /** 0 for no cap. */
    readonly maxDownloadBytesPerSecond: number;
    readonly maxUploadBytesPerSecond: number;
    readonly caFile: string | undefined;
    /** Tries of one request before the action fails. */
    readonly maxTries: number;
    /** How long UNREACHABLE and THROTTLED are tried again. */
    readonly retryForMs: number;
    /** A request without a byte for that long is tried again. */
    readonly stallTimeoutMs: number;
  };
  readonly jobs: {
    /** URL, or a bare name in the first archive's account; loggingContainerOf() finds it. undefined: no jobs. */
    readonly loggingContainer: string | undefined;
    /** Files that an import makes at once. */
    readonly stubsAtOnce: number;
    readonly listingStreams: number;
    /** Blobs. */
    readonly pageSize: number;
    readonly checkpointMs: number;
    /** Requests of an export or batch restore at the coordinator at once. */
    readonly window: number;
    /** Where blobs say nothing of mode, owner or group. */
    readonly fileMode: number;
    readonly directoryMode: number;
    readonly uid: number;
    readonly gid: number;
    /** Files for loadIdMap. */
    readonly userMap: string | undefined;
    readonly groupMap: string | undefined;
  };
  readonly shutdown: { readonly graceMs: number };
}

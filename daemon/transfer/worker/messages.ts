// What the engine on the main thread and its workers say to each other. Plain data only: it is cloned on its way.

/** Where a request goes. `path` holds the SAS, if there is one: nothing of a target may be logged. */
export interface Target {
  /** `http:` or `https:`, and host and port as URL has them. */
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
  /** Complete header lines, each ended with CRLF. */
  readonly headers: string;
}

/** One ranged GET, written to a descriptor as it comes. */
export interface GetCommand {
  readonly type: 'get';
  readonly id: number;
  readonly target: Target;
  readonly fd: number;
  /** Where the range, and its place in the file, begins. */
  readonly start: number;
  /** Behind the last byte that is expected. */
  readonly end: number;
  /** The file's size: its last byte is written even where holes are kept. */
  readonly fileBytes: number;
  /** An answer that is this is written at once, and told only when it is; without it, or for any other, `head` is told first. */
  readonly expected: Expected | undefined;
  /** Where the bytes written are counted as they are written. */
  readonly slot: number;
}

/** What an answer says besides that it is the range asked for, of a blob of `fileBytes`. */
export interface Expected {
  /** The version, without quotes; undefined for any. */
  readonly etag: string | undefined;
  /** How it is written, where that is known; else its headers decide. */
  readonly how: How | undefined;
  /** For that: the metadata key that says `1` where holes are to be kept. */
  readonly holesMetadata: string | undefined;
}

/** How a body is written. */
export interface How {
  /** Blocks of zeros stay holes. */
  readonly keepHoles?: boolean;
  /** The CRC of what is written is computed. */
  readonly crc?: boolean;
}

/** One PUT of a piece of a file. */
export interface PutCommand {
  readonly type: 'put';
  readonly id: number;
  readonly target: Target;
  readonly fd: number;
  readonly position: number;
  readonly bytes: number;
  /** Reads first, tells the CRC and waits for `go` with the rest of the headers. */
  readonly hold: boolean;
  /** Sends while reading, without the CRC in the request: for blocks that are not to be held whole. */
  readonly stream: boolean;
  /** Sends `x-ms-content-crc64`. */
  readonly sendCrc: boolean;
  /** Doing it twice does no harm: a connection that was closed meanwhile is replaced without a word. */
  readonly idempotent: boolean;
  readonly slot: number;
}

/** The caller has looked at what was told: go on; a GET as it says. */
export interface GoCommand extends How {
  readonly type: 'go';
  readonly id: number;
  /** PUT: more header lines. */
  readonly headers?: string;
}

export interface AbortCommand {
  readonly type: 'abort';
  readonly id: number;
}

export type Command = GetCommand | PutCommand | GoCommand | AbortCommand;

/** The headers of an answer that anybody reads, by their lower-case names. */
export type AnswerHeaders = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  /** Content-Length; undefined where the body is chunked. */
  readonly lengthBytes: number | undefined;
}

/** Why a request failed, as far as the worker knows. */
export type WireFailure =
  /** The socket's error; `code` is Node's. */
  | { readonly kind: 'network'; readonly code: string; readonly message: string }
  /** No byte for the stall timeout. */
  | { readonly kind: 'stall' }
  /** The connection ended within an answer, or before one. */
  | { readonly kind: 'broken'; readonly what: string }
  /** What came is no HTTP, or not what was asked for. */
  | { readonly kind: 'bad-answer'; readonly what: string }
  /** A descriptor's read or write. */
  | {
      readonly kind: 'file';
      readonly op: 'read' | 'write';
      readonly code: string;
      readonly message: string;
      readonly hint: string | undefined;
    }
  /** The file ended before what was to be sent. */
  | { readonly kind: 'file-ended'; readonly at: number }
  /** The service computed another CRC of what arrived. */
  | { readonly kind: 'crc'; readonly theirs: string }
  /** An answer other than success; `serviceCode` is Azure's. */
  | { readonly kind: 'status'; readonly answer: Answer; readonly serviceCode: string | undefined }
  | { readonly kind: 'aborted' }
  /** A mistake of ours. */
  | { readonly kind: 'internal'; readonly message: string };

/** A success's headers have come, which were not the expected ones, and not a byte is written yet. */
export interface HeadEvent {
  readonly type: 'head';
  readonly id: number;
  readonly answer: Answer;
}

/** All bytes of a held PUT are read. */
export interface ReadEvent {
  readonly type: 'read';
  readonly id: number;
  readonly crc: bigint;
}

/** The last word on a command: nothing of it is under way any more. */
export interface DoneEvent {
  readonly type: 'done';
  readonly id: number;
  /** GET: everything from `start` to here is written. PUT: bytes accepted by the service. */
  readonly bytes: number;
  /** GET: of what is written, where asked for; PUT: of what was sent. */
  readonly crc: bigint;
  /** The success whose body this is, or a part of it. */
  readonly answer?: Answer | undefined;
  readonly failure?: WireFailure | undefined;
}

export type WorkerEvent = HeadEvent | ReadEvent | DoneEvent;

/** What a worker is made with. */
export interface WorkerOptions {
  /** Bytes of content in memory at once. */
  readonly downloadBytes: number;
  readonly uploadBytes: number;
  readonly stallTimeoutMs: number;
  /** Certificates to trust, PEM; undefined for Node's own. */
  readonly ca: readonly string[] | undefined;
  /** Reads of files at once, and as many writes. */
  readonly fileCalls: number;
  /** A Float64 for each slot. */
  readonly progress: SharedArrayBuffer;
}

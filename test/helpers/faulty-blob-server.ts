// A small blob service in memory that misbehaves on demand: for the tests of the transfer and blobs rooms.
// It keeps the service's rules on conditions and blocks, so that what is in it at the end can be judged.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BlobLocation } from '../../daemon/blob.js';
import { blobUrl } from '../../daemon/blobs/names.js';
import {
  collect,
  fail,
  headersOf,
  metadataOf,
  operationOf,
  setHeaders,
  type AnswerHeaders,
  type Operation,
  type StoredBlob,
} from './blob-answers.js';

export type { Operation, StoredBlob } from './blob-answers.js';

export interface SeenRequest {
  readonly operation: Operation;
  readonly name: string;
  readonly headers: IncomingMessage['headers'];
}

/** What goes wrong with one request. Fields may be combined where that makes sense. */
export interface Fault {
  /** Answers this status instead, with this service code, and does nothing. */
  readonly status?: number;
  readonly code?: string;
  /** Headers to set, or (undefined) to leave out. */
  readonly headers?: AnswerHeaders;
  /** Closes the connection after so many bytes of body; on a write, before anything is read or done. */
  readonly resetAfter?: number;
  /** Sends nothing any more after so many bytes of body, not even headers if negative; on a write, never answers. */
  readonly stallAfter?: number;
  /** Sends a body of so many bytes less (or, negative, more) than the range, with a matching Content-Length. */
  readonly shortBy?: number;
  /** Answers a ranged GET with 200 and the whole. */
  readonly whole?: boolean;
  /** Does what is asked, then closes the connection without a word. */
  readonly loseAnswer?: boolean;
  /** Runs before the request is served. */
  readonly before?: () => void;
}

interface Script {
  readonly fault: Fault;
  readonly when: (request: SeenRequest) => boolean;
  left: number;
}

export class FaultyBlobServer {
  readonly blobs = new Map<string, StoredBlob>();
  /** Every request, in the order of arrival. */
  readonly requests: SeenRequest[] = [];
  /** Answers a GET regardless of its If-Match. */
  ignoreIfMatch = false;
  /** Drops the dots at the end of every segment of a name, as Azure does. */
  dropsDots = false;
  /** The container's own existence. */
  containerMissing = false;
  readonly #staged = new Map<string, Map<string, Buffer>>();
  readonly #scripts = new Map<Operation, Script[]>();
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: unknown) => {
      response.destroy(error as Error);
    });
  });
  #versions = 0;

  get containerUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/account/container`;
  }

  location(name: string): BlobLocation {
    return {
      url: blobUrl(this.containerUrl, name),
      auth: { kind: 'sas', query: () => 'sv=2025-01-05&sig=c2VjcmV0' },
    };
  }

  /** The next `times` requests of this kind (of those that `when` picks) go wrong like this. */
  inject(
    operation: Operation,
    fault: Fault,
    times = 1,
    when: (request: SeenRequest) => boolean = () => true,
  ): void {
    const scripts = this.#scripts.get(operation) ?? [];
    scripts.push({ fault, when, left: times });
    this.#scripts.set(operation, scripts);
  }

  /** Drops the faults that have not happened, and the record of requests. */
  forget(): void {
    this.#scripts.clear();
    this.requests.length = 0;
  }

  /** Puts a blob there, as somebody else would. */
  put(name: string, content: Buffer, more: Partial<StoredBlob> = {}): StoredBlob {
    const blob: StoredBlob = {
      content,
      etag: this.#newEtag(),
      metadata: {},
      type: 'BlockBlob',
      tier: 'Hot',
      blocks: [],
      ...more,
    };
    this.blobs.set(name, blob);
    return blob;
  }

  /** Requests of one kind. */
  count(operation: Operation): number {
    return this.requests.filter((request) => request.operation === operation).length;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  #newEtag(): string {
    this.#versions += 1;
    return `"0x8D${this.#versions.toString(16).padStart(6, '0')}"`;
  }

  #fault(seen: SeenRequest): Fault {
    const script = this.#scripts.get(seen.operation)?.find(({ left, when }) => left > 0 && when(seen));
    if (script === undefined) return {};
    script.left -= 1;
    return script.fault;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const asked = decodeURIComponent(url.pathname.split('/').slice(3).join('/'));
    const name = this.dropsDots ? asked.replace(/\.+(?=\/|$)/g, '') : asked;
    const seen = { operation: operationOf(request.method ?? '', url), name, headers: request.headers };
    this.requests.push(seen);
    const fault = this.#fault(seen);
    fault.before?.();
    const isWrite = seen.operation.startsWith('Put') || seen.operation === 'Delete Blob';
    if (isWrite && fault.resetAfter !== undefined) {
      request.socket.destroy();
      return;
    }
    const body = await collect(request);
    if (fault.stallAfter !== undefined && (isWrite || fault.stallAfter < 0)) return;
    if (fault.status !== undefined) {
      fail(response, fault.status, fault.code, fault.headers, seen.operation === 'Head Blob');
      return;
    }
    if (this.containerMissing) {
      fail(response, 404, 'ContainerNotFound', {}, seen.operation === 'Head Blob');
      return;
    }
    if (seen.operation === 'Get Blob') this.#get(seen, fault, response);
    else if (fault.loseAnswer === true) {
      // Done in full, then nothing: the client cannot know.
      this.#change(seen, url, body, undefined, fault);
      request.socket.destroy();
    } else this.#change(seen, url, body, response, fault);
  }

  #get(seen: SeenRequest, fault: Fault, response: ServerResponse): void {
    const blob = this.blobs.get(seen.name);
    if (blob === undefined) {
      fail(response, 404, 'BlobNotFound');
      return;
    }
    const ifMatch = seen.headers['if-match'];
    if (ifMatch !== undefined && ifMatch !== blob.etag && !this.ignoreIfMatch) {
      fail(response, 412, 'ConditionNotMet');
      return;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(String(seen.headers['x-ms-range'] ?? seen.headers.range ?? ''));
    const total = blob.content.length;
    const start = Number(range?.[1] ?? 0);
    if (range && start >= total) {
      fail(response, 416, 'InvalidRange', { 'content-range': `bytes */${total}` });
      return;
    }
    const isRange = range !== null && fault.whole !== true;
    const last = isRange && range[2] !== '' ? Math.min(Number(range[2]), total - 1) : total - 1;
    let body = isRange ? blob.content.subarray(start, last + 1) : blob.content;
    if (fault.shortBy !== undefined) {
      body =
        fault.shortBy >= 0
          ? body.subarray(0, Math.max(0, body.length - fault.shortBy))
          : Buffer.concat([body, Buffer.alloc(-fault.shortBy, 0xee)]);
    }
    response.statusCode = isRange ? 206 : 200;
    setHeaders(response, {
      ...headersOf(blob),
      'content-length': String(body.length),
      ...(isRange ? { 'content-range': `bytes ${start}-${last}/${total}` } : {}),
      ...fault.headers,
    });
    const cutAt = fault.resetAfter ?? fault.stallAfter;
    if (cutAt === undefined) {
      response.end(body);
      return;
    }
    response.flushHeaders();
    response.write(body.subarray(0, cutAt), () => {
      if (fault.resetAfter !== undefined) response.socket?.resetAndDestroy();
    });
  }

  /** Everything but GET; without a response it is done and not told. */
  #change(
    seen: SeenRequest,
    url: URL,
    body: Buffer,
    response: ServerResponse | undefined,
    fault: Fault,
  ): void {
    const { name, operation, headers } = seen;
    const blob = this.blobs.get(name);
    const answer = (status: number, more: AnswerHeaders = {}, text = ''): void => {
      if (!response) return;
      response.statusCode = status;
      setHeaders(response, { ...more, ...fault.headers });
      response.end(text);
    };
    const refuse = (status: number, code: string): void => {
      if (response) fail(response, status, code, {}, operation === 'Head Blob');
    };
    if (operation === 'Put Block') {
      const staged = this.#staged.get(name) ?? new Map<string, Buffer>();
      staged.set(url.searchParams.get('blockid') ?? '', body);
      this.#staged.set(name, staged);
      answer(201);
      return;
    }
    if (headers['if-none-match'] === '*' && blob) {
      refuse(409, 'BlobAlreadyExists');
      return;
    }
    if (headers['if-match'] !== undefined && headers['if-match'] !== blob?.etag) {
      refuse(412, 'ConditionNotMet');
      return;
    }
    if (operation === 'Put Blob') {
      const md5 = createHash('md5').update(body).digest('base64');
      answer(201, headersOf(this.put(name, body, { metadata: metadataOf(headers), md5 })));
      this.#staged.delete(name);
      return;
    }
    if (operation === 'Put Block List') {
      const ids = [...body.toString().matchAll(/<Latest>([^<]*)<\/Latest>/g)].map((match) => match[1] ?? '');
      const parts = ids.map((id) => this.#staged.get(name)?.get(id));
      if (parts.some((part) => part === undefined)) {
        refuse(400, 'InvalidBlockList');
        return;
      }
      const content = Buffer.concat(parts as Buffer[]);
      answer(201, headersOf(this.put(name, content, { metadata: metadataOf(headers), blocks: ids })));
      // Blocks that a commit does not name are gone (Put Block List, Remarks).
      this.#staged.delete(name);
      return;
    }
    if (!blob) {
      refuse(404, 'BlobNotFound');
      return;
    }
    if (operation === 'Set Blob Metadata') {
      const { content, type, tier, blocks } = blob;
      answer(200, headersOf(this.put(name, content, { metadata: metadataOf(headers), type, tier, blocks })));
    } else if (operation === 'Head Blob')
      answer(200, { ...headersOf(blob), 'content-length': String(blob.content.length) });
    else if (operation === 'Delete Blob') {
      this.blobs.delete(name);
      answer(202);
    } else {
      const list = blob.blocks.map((id) => `<Block><Name>${id}</Name><Size>1</Size></Block>`).join('');
      const xml = `<?xml version="1.0" encoding="utf-8"?><BlockList><CommittedBlocks>${list}</CommittedBlocks></BlockList>`;
      answer(200, { ...headersOf(blob), 'content-md5': undefined, 'content-type': 'application/xml' }, xml);
    }
  }
}

/** Starts a server that behaves until told otherwise. */
export function startFaultyBlobServer(): Promise<FaultyBlobServer> {
  return new FaultyBlobServer().start();
}

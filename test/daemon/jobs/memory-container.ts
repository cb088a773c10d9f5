// A logging container in memory with all that the service promises of it: versions, leases, appends. Nodes that die get no
// answer any more. For the tests of the runner.
import { LhsmError } from '../../../native-bindings/errors.js';
import type { LookedAt, WriteOptions } from '../../../daemon/blobs/logging-container.js';
import type { StoreContainer } from '../../../daemon/jobs/job-store.js';
import type { LockContainer } from '../../../daemon/jobs/lock.js';

interface Stored {
  readonly body: Buffer;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly lastModified: Date;
  readonly appends: number;
}

export type NodeContainer = StoreContainer & LockContainer;

function failed(code: string): LhsmError {
  return new LhsmError(`failed: ${code}`, { code, op: 'test' });
}

export class MemoryContainer {
  readonly #blobs = new Map<string, Stored>();
  readonly #leases = new Map<string, string>();
  #versions = 0;
  /** Called before each request, for the test to look, to wait, or to let it fail. */
  before: (method: string, name: string) => unknown = () => undefined;

  /** Of the blob at this name; undefined when there is none. */
  text(name: string): string | undefined {
    return this.#blobs.get(name)?.body.toString();
  }

  put(name: string, text: string): void {
    this.#store(name, Buffer.from(text));
  }

  delete(name: string): void {
    this.#blobs.delete(name);
  }

  /** Time passes: leases that nobody renews run out. */
  expireLeases(): void {
    this.#leases.clear();
  }

  /** The container as a node sees it until it dies. */
  node(alive: AbortSignal = new AbortController().signal): NodeContainer {
    const serve = async <T>(method: string, name: string, run: () => T): Promise<T> => {
      if (!alive.aborted) await this.before(method, name);
      return alive.aborted ? new Promise<never>(() => undefined) : run();
    };
    return {
      look: (name) => serve('look', name, () => this.#look(name)),
      read: (name) => serve('read', name, () => this.#blobs.get(name)),
      readFrom: async function* (this: NodeContainer, name, offset, signal) {
        const found = await this.read(name, signal);
        if (!found) throw failed('BLOB_MISSING');
        yield found.body.subarray(offset);
      },
      write: (name, body, options) =>
        serve('write', name, () => {
          this.#check(name, options);
          return this.#store(name, Buffer.from(body), options.metadata);
        }),
      list: (prefix) => this.#list(prefix),
      delete: (name) =>
        serve('delete', name, () => {
          this.delete(name);
        }),
      createAppend: (name) =>
        serve('createAppend', name, () => {
          if (!this.#blobs.has(name)) this.put(name, '');
        }),
      append: (name, bytes, position) =>
        serve('append', name, () => {
          const { body, appends } = this.#found(name);
          if (body.length !== position) throw failed('BLOB_CHANGED');
          this.#store(name, Buffer.concat([body, bytes]), {}, appends + 1);
        }),
      acquireLease: (name, id) =>
        serve('acquireLease', name, () => {
          this.#found(name);
          if ((this.#leases.get(name) ?? id) !== id) throw failed('BLOB_LEASED');
          this.#leases.set(name, id);
        }),
      renewLease: (name, id) =>
        serve('renewLease', name, () => {
          if (this.#leases.get(name) !== id) throw failed('LEASE_LOST');
        }),
      releaseLease: (name, id) =>
        serve('releaseLease', name, () => {
          if (this.#leases.get(name) !== id) throw failed('LEASE_LOST');
          this.#leases.delete(name);
        }),
    };
  }

  #store(name: string, body: Buffer, metadata: Readonly<Record<string, string>> = {}, appends = 0): string {
    this.#versions += 1;
    const etag = `"${this.#versions}"`;
    this.#blobs.set(name, { body, etag, metadata, appends, lastModified: new Date(this.#versions * 1000) });
    return etag;
  }

  #found(name: string): Stored {
    const found = this.#blobs.get(name);
    if (!found) throw failed('BLOB_MISSING');
    return found;
  }

  #check(name: string, { expected, leaseId }: WriteOptions): void {
    const there = this.#blobs.get(name);
    const wanted = expected === 'absent' ? undefined : (expected?.etag ?? there?.etag);
    if (there?.etag !== wanted) throw failed('BLOB_CHANGED');
    const lease = this.#leases.get(name);
    if (lease !== leaseId) throw failed(leaseId === undefined ? 'BLOB_LEASED' : 'LEASE_LOST');
  }

  #look(name: string): LookedAt | undefined {
    const found = this.#blobs.get(name);
    if (!found) return undefined;
    const { body, ...headers } = found;
    return {
      ...headers,
      sizeBytes: body.length,
      blobType: 'BlockBlob',
      accessTier: undefined,
      isLeased: this.#leases.has(name),
    };
  }

  async *#list(prefix: string) {
    await this.before('list', prefix);
    for (const [name, { lastModified }] of [...this.#blobs].sort()) {
      if (name.startsWith(prefix)) yield { name, lastModified };
    }
  }
}

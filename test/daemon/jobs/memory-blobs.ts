// Blobs in memory as processes see them that may die at any request: before it, after it, or with the request still on
// its way to the service. For the tests of the report.
import { LhsmError } from '../../../native-bindings/errors.js';
import type { StoreContainer } from '../../../daemon/jobs/job-store.js';

interface Stored {
  body: Buffer;
  appends: number;
}

/** What becomes of the request at which the process dies. */
export type Death = 'lost' | 'done' | 'late';

function failed(code: string): LhsmError {
  return new LhsmError(`failed: ${code}`, { code, op: 'test' });
}

export class MemoryBlobs {
  readonly blobs = new Map<string, Stored>();
  readonly #late: (() => unknown)[] = [];

  text(name: string): string {
    return this.blobs.get(name)?.body.toString() ?? '';
  }

  /** A process that lives for so many requests. `died` is called when it dies; it gets no answer from then on. */
  process(requests = Infinity, death: Death = 'lost', died: () => void = () => undefined): StoreContainer {
    let left = requests;
    const serve = async <T>(run: () => T): Promise<T> => {
      await Promise.resolve();
      left -= 1;
      if (left >= 0) {
        const answer = run();
        // A late one comes in between two of the next process.
        this.#late.shift()?.();
        return answer;
      }
      if (left === -1) {
        const ignore = (): void => {
          try {
            run();
          } catch {
            // Nobody is told.
          }
        };
        if (death === 'done') ignore();
        if (death === 'late') this.#late.push(ignore);
        died();
      }
      return new Promise<never>(() => undefined);
    };
    const { blobs } = this;
    const etag = ({ body, appends }: Stored): string => `"${appends}-${body.toString('base64')}"`;
    return {
      look: (name) =>
        serve(() => {
          const found = blobs.get(name);
          if (!found) return undefined;
          const headers = {
            blobType: 'AppendBlob',
            accessTier: undefined,
            metadata: {},
            lastModified: undefined,
            isLeased: false,
          };
          return { ...headers, sizeBytes: found.body.length, etag: etag(found), appends: found.appends };
        }),
      read: (name) =>
        serve(() => {
          const found = blobs.get(name);
          return found && { body: found.body, etag: etag(found), metadata: {} };
        }),
      readFrom: async function* (name, offset) {
        const bytes = await serve(() => blobs.get(name)?.body.subarray(offset));
        if (!bytes) throw failed('BLOB_MISSING');
        // Pieces that know nothing of lines or characters.
        for (let at = 0; at < bytes.length; at += 61) yield bytes.subarray(at, at + 61);
      },
      write: (name, body) =>
        serve(() => {
          const stored = { body: Buffer.from(body), appends: 0 };
          blobs.set(name, stored);
          return etag(stored);
        }),
      list: async function* () {
        // The report lists nothing.
      },
      delete: (name) =>
        serve(() => {
          blobs.delete(name);
        }),
      createAppend: (name) =>
        serve(() => {
          if (!blobs.has(name)) blobs.set(name, { body: Buffer.alloc(0), appends: 0 });
        }),
      append: (name, bytes, position) =>
        serve(() => {
          const found = blobs.get(name);
          if (!found) throw failed('BLOB_MISSING');
          if (found.body.length !== position) throw failed('BLOB_CHANGED');
          found.body = Buffer.concat([found.body, bytes]);
          found.appends += 1;
        }),
    };
  }
}

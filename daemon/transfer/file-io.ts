// Reads and writes at offsets of a descriptor, whole or with an error that says what the file system said.
// download.ts and upload.ts call it.
import { read, write } from 'node:fs';
import { Share } from '../share.js';
import type { Ends } from '../stop.js';
import { LhsmError, systemErrorName } from '../../native-bindings/errors.js';

const DEFAULT_FILE_CALLS = 10;

/** A descriptor's I/O, each call in its turn; whoever is stopped before that rejects. Tests put short writes and full disks in its place. */
export interface FileIo {
  /** Reads until `into` is full or the file ends; answers the bytes read. */
  read(fd: number, into: Buffer, position: number, stop?: Ends): Promise<number>;
  /** Writes all of `from`. */
  write(fd: number, from: Buffer, position: number, stop?: Ends): Promise<void>;
}

/** The calls beneath: as read(2) and write(2), which may do less than asked. */
export interface RawIo {
  read(fd: number, into: Buffer, position: number): Promise<number>;
  write(fd: number, from: Buffer, position: number): Promise<number>;
}

const nodeIo: RawIo = {
  read: (fd, into, position) =>
    new Promise((resolve, reject) => {
      read(fd, into, 0, into.length, position, (error, bytes) => {
        if (error) reject(error);
        else resolve(bytes);
      });
    }),
  write: (fd, from, position) =>
    new Promise((resolve, reject) => {
      write(fd, from, 0, from.length, position, (error, bytes) => {
        if (error) reject(error);
        else resolve(bytes);
      });
    }),
};

const hints: Readonly<Record<string, string>> = {
  ENOSPC: 'Free space on the OSTs, then restore again.',
  EDQUOT: "Raise the owner's quota, then restore again.",
};

/** What a call on a descriptor failed with, with what to do about it. */
export function fileError(op: 'read' | 'write', position: number, cause: unknown): LhsmError {
  const code = systemErrorName(cause);
  const hint = hints[code];
  return new LhsmError(`The file's ${op} at offset ${position} failed (${code}).`, {
    code,
    op,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** `calls`: the threads that reads may hold, and as many writes, so that a hung OST does not hold them all. */
export function fileIo(raw: RawIo = nodeIo, calls = DEFAULT_FILE_CALLS): FileIo {
  const [reads, writes] = [new Share(calls), new Share(calls)];
  return {
    async read(fd, into, position, stop) {
      let done = 0;
      while (done < into.length) {
        let bytes: number;
        try {
          bytes = await reads.run(
            () => raw.read(fd, done === 0 ? into : into.subarray(done), position + done),
            stop,
          );
        } catch (cause) {
          throw fileError('read', position + done, cause);
        }
        if (bytes === 0) break;
        done += bytes;
      }
      return done;
    },
    async write(fd, from, position, stop) {
      let done = 0;
      while (done < from.length) {
        let bytes: number;
        try {
          bytes = await writes.run(
            () => raw.write(fd, done === 0 ? from : from.subarray(done), position + done),
            stop,
          );
        } catch (cause) {
          throw fileError('write', position + done, cause);
        }
        // write(2) answers 0 only for 0 bytes asked; anything else would loop here for ever.
        if (bytes === 0) throw fileError('write', position + done, { code: 'EIO' });
        done += bytes;
      }
    },
  };
}

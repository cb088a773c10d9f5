// The pipe through which threads in C say what is over: ids of four bytes each, many at a time. call-threads.ts,
// body-threads.ts and get-threads.ts have one each.
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';

const ID_BYTES = 4;
/** So many ids are told in one turn of the event loop; the rest in the next. */
const TOLD_AT_ONCE = 1024;

export class IdPipe {
  readonly #socket: Socket;
  readonly #hear: (id: number) => void;
  #expected = 0;
  /** The bytes of an id that came in part. */
  #rest: Buffer = Buffer.alloc(0);

  /** Owns the reading end `fd`. Keeps the process alive while ids are expected. */
  constructor(fd: number, hear: (id: number) => void) {
    this.#hear = hear;
    const onread: OnReadOpts = {
      buffer: Buffer.alloc(TOLD_AT_ONCE * ID_BYTES),
      callback: (length, bytes) => {
        this.#read(Buffer.from(bytes.buffer, bytes.byteOffset, length));
        return true;
      },
    };
    // Node takes `onread` with a descriptor, too (net.js); its types have it for connections only.
    const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = { fd, readable: true, onread };
    this.#socket = new Socket(options);
    this.#socket.unref();
  }

  /** How many ids are still to come. */
  get expected(): number {
    return this.#expected;
  }

  /** One more is to come: what is under way keeps the process alive, as libuv's own work does. */
  expect(): void {
    if (this.#expected++ === 0) this.#socket.ref();
  }

  /** One less is to come. */
  forget(): void {
    if (--this.#expected === 0) this.#socket.unref();
  }

  #read(bytes: Buffer): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    const whole = all.length - (all.length % ID_BYTES);
    // A copy: the buffer is filled anew.
    this.#rest = whole === all.length ? Buffer.alloc(0) : Buffer.from(all.subarray(whole));
    for (let at = 0; at < whole; at += ID_BYTES) {
      this.forget();
      this.#hear(all.readUInt32LE(at));
    }
  }
}

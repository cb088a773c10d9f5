// Starts the native blob server (blob-server.c) for a bench or a test, and speaks with it over its standard input.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { buildNative } from './native.js';

/** Blobs that exist by definition: `<name>/0000000` and on. */
export interface Series {
  readonly name: string;
  readonly count: number;
  readonly sizeBytes: number;
  /** That many each in a directory of its own: `<name>/00000/0000000`. */
  readonly perDirectory?: number;
}

export interface BlobServerOptions {
  readonly series: readonly Series[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** Each blob has its CRC64 as metadata of this key, in Base64, as Azure writes it. */
  readonly crc64Key?: string;
  /** PEM files: then it speaks TLS. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** Compare every uploaded byte with the pattern. */
  readonly verify?: boolean;
}

/** What blob-server.c says of itself; all but the CPU time since the last reset. */
export interface BlobServerStats {
  readonly cpuSeconds: number;
  readonly connections: number;
  readonly requests: number;
  readonly failures: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly uploads: {
    readonly blobs: number;
    readonly bytes: number;
    /** They, and each of their blocks, begin as the pattern of the number in their name does there. */
    readonly placed: number;
    /** Placed, and every byte was compared. */
    readonly compared: number;
    readonly damaged: number;
  };
}

export class BlobServer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  /** `http://127.0.0.1:<port>/account/container`; https where asked for. */
  readonly url: string;

  private constructor(child: ChildProcessWithoutNullStreams, lines: AsyncIterator<string>, url: string) {
    this.#child = child;
    this.#lines = lines;
    this.url = url;
  }

  static async start(options: BlobServerOptions): Promise<BlobServer> {
    const { blobServer } = await buildNative();
    const args = options.series.flatMap(({ name, count, sizeBytes, perDirectory }) => [
      '--series',
      [name, count, sizeBytes, ...(perDirectory === undefined ? [] : [perDirectory])].join(':'),
    ]);
    for (const [key, value] of Object.entries(options.metadata ?? {})) args.push('--meta', `${key}=${value}`);
    if (options.crc64Key !== undefined) args.push('--crc64-meta', options.crc64Key);
    if (options.tls) args.push('--cert', options.tls.certFile, '--key', options.tls.keyFile);
    if (options.verify === true) args.push('--verify');
    // It ends with its standard input, so with this process, however that ends.
    const child = spawn(blobServer, args, { detached: true });
    child.stderr.pipe(process.stderr);
    child.stdin.on('error', () => undefined);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { port } = (await nextLine(lines)) as { port: number };
    const scheme = options.tls ? 'https' : 'http';
    return new BlobServer(child, lines, `${scheme}://127.0.0.1:${port}/account/container`);
  }

  async stats(): Promise<BlobServerStats> {
    return (await this.#command('stats')) as BlobServerStats;
  }

  /** Forgets uploads, deletes and counts. */
  async reset(): Promise<void> {
    await this.#command('reset');
  }

  async verify(isOn: boolean): Promise<void> {
    await this.#command(`verify ${isOn ? 'on' : 'off'}`);
  }

  /** One at a time. */
  async #command(command: string): Promise<unknown> {
    this.#child.stdin.write(`${command}\n`);
    return nextLine(this.#lines);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin.end();
    await closed;
  }
}

async function nextLine(lines: AsyncIterator<string>): Promise<unknown> {
  const line = await lines.next();
  if (line.done === true) throw new Error('the blob server has ended');
  return JSON.parse(line.value);
}

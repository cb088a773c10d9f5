// What systemd hears of a daemon: a NOTIFY_SOCKET for end-to-end tests. Node has no datagram sockets of the unix
// domain, so a small C program listens.
import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fixture, gcc } from '../native-bindings/helpers.js';

export class NotifySocket {
  /** For NOTIFY_SOCKET. */
  readonly path: string;
  /** What was sent, in order, a line each: `READY=1`, `STATUS=…`. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter();

  private constructor(path: string, child: ChildProcess) {
    this.path = path;
    this.#child = child;
  }

  /** Listens until `stop`. */
  static async start(): Promise<NotifySocket> {
    // A folder whose path is short: the name of a socket has 108 bytes at most.
    const dir = mkdtempSync(join(tmpdir(), 'lhsm-notify-'));
    const path = join(dir, 'notify');
    const child = spawn(gcc(join(dir, 'sink'), fixture('datagram-sink.c')), [path, 'all'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const socket = new NotifySocket(path, child);
    let rest = '';
    child.stdout.on('data', (chunk: Buffer) => {
      const texts = (rest + chunk.toString()).split('\0');
      rest = texts.pop() ?? '';
      socket.lines.push(...texts.flatMap((text) => text.split('\n')));
      socket.#news.emit('news');
    });
    return socket;
  }

  /** Resolves once a line like this has been sent, at or behind the line `from`; answers its number. */
  async line(pattern: RegExp, from = 0): Promise<number> {
    for (;;) {
      const at = this.lines.findIndex((line, n) => n >= from && pattern.test(line));
      if (at >= 0) return at;
      await once(this.#news, 'news');
    }
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill();
    await ended;
    rmSync(dirname(this.path), { recursive: true });
  }
}

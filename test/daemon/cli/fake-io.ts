// Runs commands without a process, a terminal or time.
import { realClock, type Clock, type Io } from '../../../daemon/cli/io.js';
import { run } from '../../../daemon/cli/run.js';

/** Runs a command and gives what it printed. */
export async function cli(
  argv: readonly string[],
  env: Record<string, string> = {},
  changes: Partial<Io> = {},
) {
  let out = '';
  let err = '';
  const code = await run(argv, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    raw: (bytes) => {
      out += Buffer.from(bytes).toString('utf8');
      return Promise.resolve();
    },
    env,
    cwd: () => '/mnt/lustre/home',
    terminal: false,
    columns: () => 80,
    signal: new AbortController().signal,
    clock: realClock,
    ...changes,
  });
  return { code, out, err };
}

/** A clock that goes only when somebody sleeps; `onSleep` hears of each. */
export class FakeClock implements Clock {
  nowMs = Date.parse('2026-11-27T22:15:30Z');
  sleeps = 0;
  onSleep: (count: number) => void | Promise<void> = () => undefined;

  now(): number {
    return this.nowMs;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.nowMs += ms;
    await this.onSleep(++this.sleeps);
    signal.throwIfAborted();
  }
}

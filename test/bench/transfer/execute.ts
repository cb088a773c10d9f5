// Runs one program to its end. Everything that the bench starts and waits for goes through here, so that an abort leaves
// no process behind.
import { spawn } from 'node:child_process';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** Besides the bench's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** For its standard input. */
  readonly input?: string;
}

const MAX_OUTPUT_CHARS = 4000;
const MAX_RUN_MS = 300_000;

/**
 * Resolves with what the program printed (the end of it).
 * Rejects when it does not exit with 0, and with the signal's reason when that ended it.
 */
export async function execute(command: Command, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  // A group of its own: Ctrl-C is the bench's, which ends the others.
  const child = spawn(command.file, command.args, {
    detached: true,
    stdio: 'pipe',
    env: { ...process.env, ...command.env },
  });
  let output = '';
  const collect = (data: Buffer): void => {
    output = (output + data.toString()).slice(-MAX_OUTPUT_CHARS);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  child.stdin.on('error', () => undefined);
  // Left open otherwise: AzCopy spins when its standard input has ended.
  if (command.input !== undefined) child.stdin.end(command.input);
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort();
    kill();
  }, MAX_RUN_MS);
  signal.addEventListener('abort', kill, { once: true });
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      // Not 'exit': a grandchild that still holds the output is waited for, too.
      child.once('close', (code, by) => {
        resolve(String(code ?? by));
      });
    });
    signal.throwIfAborted();
    if (late.signal.aborted)
      throw new Error(`${command.file} did not end in ${MAX_RUN_MS / 1000} s\n${output}`);
    if (status !== '0') throw new Error(`${command.file} ${command.args.join(' ')}: ${status}\n${output}`);
    return output;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
  }
}

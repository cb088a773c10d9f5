// The daemon's log: pino, one JSON object a line on standard output, journald priorities under systemd, no
// secrets. main.ts creates it; everybody gets children of it.
import { fstatSync } from 'node:fs';
import {
  pino,
  stdTimeFunctions,
  symbols,
  type Bindings,
  type ChildLoggerOptions,
  type DestinationStream,
  type Logger,
} from 'pino';
import type { LogConfig } from './config/config.js';
import { plain, type Plain } from './log-values.js';
import { redact } from './redact.js';

/** syslog(3) priorities of pino's levels: what systemd makes of `<N>` (sd-daemon(3)). */
const PRIORITY: Readonly<Record<number, number>> = { 10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2 };

/** Lines that wait for a slow reader, in bytes; beyond that lines are dropped rather than the daemon stopped. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

export interface LogOptions {
  /** Takes whole lines; standard output when left out. */
  readonly destination?: DestinationStream;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** `device:inode` of standard output; for tests. */
  readonly stdoutId?: () => string | undefined;
}

/** Whether standard output goes to journald: JOURNAL_STREAM holds its device and inode (systemd.exec(5)). */
function journaldReads({ env = process.env, stdoutId = idOfStdout }: LogOptions): boolean {
  const stream = env['JOURNAL_STREAM'];
  return stream !== undefined && stream === stdoutId();
}

function idOfStdout(): string | undefined {
  try {
    const { dev, ino } = fstatSync(1, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

type Format = Exclude<LogConfig['format'], 'auto'>;

function prettyLine(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, Plain>;
  const clock = typeof time === 'string' ? time.slice(11, 23) : '';
  const details = Object.entries(rest).map(
    ([key, value]) =>
      `${key}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`,
  );
  const name = typeof level === 'string' ? level.toUpperCase().padEnd(5) : '';
  return `${clock} ${name} ${typeof msg === 'string' ? msg : ''}${details.length ? `  ${details.join(' ')}` : ''}\n`;
}

/** As SonicBoom, pino's own, has it. */
interface Flushable extends DestinationStream {
  flush?(done: (error?: Error | null) => void): void;
}

/** pino's number of the level `error`. */
const ERROR_LEVEL = 50;

/** So long a line waits for others, or until there are so many characters. */
const GATHER_MS = 20;
const GATHER_LENGTH = 64 * 1024;

/**
 * Cleans and dresses each line on its way out; those of a few milliseconds go together, for a write costs much more than a
 * line. Errors do not wait. pino sets lastLevel because of the metadata symbol.
 */
class LineStream implements DestinationStream {
  readonly [symbols.needsMetadataGsym] = true;
  lastLevel = 30;
  readonly #out: Flushable;
  readonly #format: Format;
  readonly #gathers: boolean;
  #waiting = '';
  #due: NodeJS.Timeout | undefined;

  constructor(out: Flushable, format: Format, gathers: boolean) {
    this.#out = out;
    this.#format = format;
    this.#gathers = gathers;
  }

  write(line: string): void {
    const clean = redact(line);
    if (this.#format === 'journald') this.#waiting += `<${PRIORITY[this.lastLevel] ?? 6}>${clean}`;
    else this.#waiting += this.#format === 'pretty' ? prettyLine(clean) : clean;
    const isDue = this.lastLevel >= ERROR_LEVEL || this.#waiting.length >= GATHER_LENGTH;
    if (!this.#gathers || isDue) this.handOn();
    else {
      this.#due ??= setTimeout(() => {
        this.handOn();
      }, GATHER_MS).unref();
    }
  }

  /** Logger.flush ends here: `done` is called when all lines are written. */
  flush(done: (error?: Error | null) => void): void {
    this.handOn();
    if (this.#out.flush) this.#out.flush(done);
    else done();
  }

  handOn(): void {
    clearTimeout(this.#due);
    this.#due = undefined;
    const lines = this.#waiting;
    this.#waiting = '';
    if (lines !== '') this.#out.write(lines);
  }
}

const plainRecord = (value: object): Record<string, unknown> => plain(value) as Record<string, unknown>;

/**
 * The root logger. Setting its `level` sets that of every child, too. Times are ISO 8601 in UTC, levels are
 * words, 64-bit values are `0x…`, errors carry code, op, errno, hint and causes.
 */
export function createLogger(config: LogConfig, options: LogOptions = {}): Logger {
  const format = config.format === 'auto' ? (journaldReads(options) ? 'journald' : 'json') : config.format;
  const out = options.destination ?? pino.destination({ dest: 1, sync: false, maxLength: MAX_WAITING_BYTES });
  const stream = new LineStream(out, format, !options.destination);
  // Before pino's own, which writes what it has at the process's end.
  if (!options.destination) {
    process.prependOnceListener('exit', () => {
      stream.handOn();
    });
  }

  const root = pino(
    {
      level: config.level,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), bindings: () => ({}), log: plainRecord },
      // The formatter has made errors plain already; pino's own serialiser would not know them any more.
      serializers: { err: (value: unknown) => value },
    },
    stream,
  );

  // pino formats no bindings of children, and a child copies its parent's level when it is made: to reach it
  // later, remember it while it lives.
  let children: WeakRef<Logger>[] = [];
  let pruneAt = 1024;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its `this` just below
  const childOf: (this: Logger, bindings: Bindings, options?: ChildLoggerOptions) => Logger = root.child;
  const plainChild = (parent: Logger, bindings: Bindings, options?: ChildLoggerOptions): Logger => {
    const child = childOf.call(parent, plainRecord(bindings), options);
    if (children.length >= pruneAt) {
      children = children.filter((ref) => ref.deref() !== undefined);
      pruneAt = Math.max(1024, children.length * 2);
    }
    children.push(new WeakRef(child));
    return child;
  };
  // Children inherit from the root, so this reaches theirs, too.
  Object.defineProperty(root, 'child', {
    value(this: Logger, bindings: Bindings, options?: ChildLoggerOptions) {
      return plainChild(this, bindings, options);
    },
  });
  root.on('level-change', (level, _number, _before, _beforeNumber, logger) => {
    if (logger !== root) return;
    for (const ref of children) {
      const child = ref.deref();
      if (child) child.level = level;
    }
  });
  return root;
}

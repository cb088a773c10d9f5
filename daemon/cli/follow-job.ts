// Waits for a job's end and shows how it goes on: `jobs watch` and every `--wait`. A daemon that is restarted meanwhile
// is asked again.
import { LhsmError } from '../../native-bindings/errors.js';
import { isFinal, type JobDocument, type JobState } from '../jobs/job.js';
import { ask } from './client.js';
import { CommandEnd, ExitCode, type Io } from './io.js';
import { progressLine, renderJob } from './job-text.js';
import { ProgressLine } from './progress-line.js';

const LOOK_MS = 2_000;
/** How long a daemon may be away. */
const PATIENCE_MS = 60_000;

/** What a daemon that is being restarted, or its way to the logging container, answers. */
const passing: ReadonlySet<string> = new Set(['NO_DAEMON', 'NOT_SERVING', 'UNREACHABLE', 'THROTTLED']);

const exitCodes: Readonly<Partial<Record<JobState, number>>> = {
  Completed: ExitCode.OK,
  CompletedPartial: ExitCode.PARTIAL,
  Failed: ExitCode.JOB_FAILED,
  Canceled: ExitCode.CANCELED,
};

/** `progress`: for people. `each`: a line of JSON whenever something is new. `last`: the end's document alone. */
export type FollowStyle = 'progress' | 'each' | 'last';

/** One look at the job; patient with a daemon that is away for a while. */
async function look(socket: string, name: string, io: Io, say: (text: string) => void): Promise<JobDocument> {
  const { clock, signal } = io;
  let awaySinceMs: number | undefined;
  for (;;) {
    try {
      const text = await ask(socket, 'GET', `/v1/jobs/${encodeURIComponent(name)}`, { signal });
      if (awaySinceMs !== undefined) say('The daemon answers again.\n');
      return JSON.parse(text) as JobDocument;
    } catch (error) {
      const known = error instanceof LhsmError && passing.has(error.code) ? error : undefined;
      if (signal.aborted || !known) throw error;
      if (awaySinceMs === undefined) say(`${known.message}; asking again for a minute.\n`);
      awaySinceMs ??= clock.now();
      if (clock.now() - awaySinceMs >= PATIENCE_MS) throw error;
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

async function untilEnd(
  socket: string,
  name: string,
  io: Io,
  { show, clear }: { show: (job: JobDocument) => void; clear: () => void },
): Promise<JobDocument> {
  const say = (text: string): void => {
    clear();
    io.err(`lhsm-azblob: ${text}`);
  };
  for (;;) {
    const job = await look(socket, name, io, say);
    if (isFinal(job.state)) return job;
    show(job);
    await io.clock.sleep(LOOK_MS, io.signal);
  }
}

/**
 * Resolves when the job is complete. Throws CommandEnd with the exit code of another end, or of Ctrl-C, which
 * leaves the job running; LhsmError when the daemon stays away.
 */
export async function followJob(socket: string, name: string, style: FollowStyle, io: Io): Promise<void> {
  const progress = new ProgressLine(io);
  const clear = (): void => {
    if (style === 'progress') progress.clear();
  };
  let last = '';
  const show = (job: JobDocument): void => {
    if (style === 'progress') progress.show(progressLine(job), job.state);
    if (style !== 'each') return;
    const text = JSON.stringify(job);
    if (text !== last) io.out(`${text}\n`);
    last = text;
  };
  let job: JobDocument;
  try {
    job = await untilEnd(socket, name, io, { show, clear });
  } catch (error) {
    clear();
    if (!io.signal.aborted) throw error;
    io.err(
      `The job ${name} goes on. Watch it: lhsm-azblob jobs watch ${name}; end it: lhsm-azblob jobs cancel ${name}\n`,
    );
    throw new CommandEnd(ExitCode.INTERRUPTED);
  }
  clear();
  if (style === 'progress') io.out(renderJob(job, io.clock.now()));
  else io.out(`${JSON.stringify(job, null, style === 'last' ? 2 : 0)}\n`);
  const exitCode = exitCodes[job.state] ?? ExitCode.OK;
  if (exitCode !== ExitCode.OK) throw new CommandEnd(exitCode);
}

// What the restore bench must show, and what of it a report does not. restore.ts calls it.

/** By the wall clock, and CPU time by files. */
export interface RestoreRate {
  readonly filesPerSecond: number;
  readonly daemonCpuMsPerFile: number;
  readonly simulatorCpuMsPerFile: number;
}

export interface RestoreReport {
  readonly files: number;
  readonly ours: RestoreRate;
  readonly script: RestoreRate & { readonly files: number };
  /** Files a second, ours by the script's. */
  readonly ratio: number;
  /** The most requests that the configuration lets a batch restore have at the coordinator. */
  readonly window: number;
  /** The most that the coordinator had during ours, the reader's included. */
  readonly maxQueue: number;
  /** Medians of one reader. */
  readonly onAccessLatencyMs: { readonly idle: number; readonly during: number };
  readonly loopPeriodS: number;
  /** Files not restored, and sampled ones with wrong content or attributes. */
  readonly wrong: number;
  /** Load average over a minute, before ours and at its end: who else uses the machine. */
  readonly load: { readonly before: number; readonly after: number };
}

const WANTED_RATIO = 5;
/** Ten times what the managed service publishes for its script. */
export const WANTED_FILES_PER_SECOND = 1860;
/** In the daemon's process, everything included. */
export const WANTED_CPU_MS = 0.6;
const MOST_LATENCY = 2;
/** Requests of the reader's, who has one at a time: the window is not for those. */
const READERS = 1;

/** In words; empty when all is as wanted. */
export function amissInRestore(report: RestoreReport): string[] {
  const { ours, ratio, window, maxQueue, onAccessLatencyMs, wrong } = report;
  const { idle, during } = onAccessLatencyMs;
  const found: [boolean, string][] = [
    [wrong > 0, `${wrong} files are not restored, or not as they should be`],
    [!(ratio >= WANTED_RATIO), `${ratio} times the script's rate, ${WANTED_RATIO} are wanted`],
    [
      !(ours.filesPerSecond >= WANTED_FILES_PER_SECOND),
      `${ours.filesPerSecond} files a second, ${WANTED_FILES_PER_SECOND} are wanted`,
    ],
    [
      !(ours.daemonCpuMsPerFile <= WANTED_CPU_MS),
      `${ours.daemonCpuMsPerFile} ms CPU a file in the daemon, ${WANTED_CPU_MS} are wanted`,
    ],
    [maxQueue > window + READERS, `${maxQueue} requests were at the coordinator, the window is ${window}`],
    [
      !(during <= MOST_LATENCY * idle),
      `a reader waits ${during} ms during the batch, ${idle} ms without: at most ${MOST_LATENCY} times is wanted`,
    ],
  ];
  return found.filter(([is]) => is).map(([, words]) => words);
}

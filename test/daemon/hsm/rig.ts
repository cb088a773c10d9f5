// A receiver with everything below it over a coordinator in memory, and movers whose work the test does by hand: for
// the tests of hsm/ beside it.
import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import type { ArchiveContainer } from '../../../daemon/blobs/archive-container.js';
import { AgentEmitter, type FinishedEvent, type RecoveredEvent } from '../../../daemon/events.js';
import { Share } from '../../../daemon/share.js';
import type { Ends } from '../../../daemon/stop.js';
import { BytesGate } from '../../../daemon/hsm/bytes-gate.js';
import { Journal } from '../../../daemon/hsm/journal.js';
import { Receiver } from '../../../daemon/hsm/receiver.js';
import { Scheduler } from '../../../daemon/hsm/scheduler.js';
import type { ActionTools } from '../../../daemon/hsm/action.js';
import type { Mover, MoverJob, MoverTools } from '../../../daemon/movers/mover.js';
import { FakeCopytool } from './fake-coordinator.js';

export interface RigOptions {
  readonly maxActions?: number;
  readonly giveUp?: AbortSignal;
  readonly timings?: { readonly heartbeatMs: number; readonly restoreFirstProgressMs: number };
}

/** A receiver with everything below it, and movers whose work the test does by hand. */
export function rig(t: Test, options: RigOptions = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-action-'));
  const events = new AgentEmitter();
  const { journal } = Journal.open(join(dir, 'journal'), events);
  const copytool = new FakeCopytool();
  const jobs: { job: MoverJob; signal: Ends; done: (error?: Error) => void }[] = [];
  let started: (() => void)[] = [];
  const mover: Mover = (job, _tools, signal) =>
    new Promise((resolve, reject) => {
      const done = (error?: Error): void => {
        if (error !== undefined) reject(error);
        else resolve({ blob: 'name', sizeBytes: 1n });
      };
      const abort = (): void => {
        reject(new DOMException('aborted', 'AbortError'));
      };
      signal.addEventListener('abort', abort, { once: true });
      jobs.push({ job, signal, done });
      for (const tell of started) tell();
      started = [];
    });
  const errors: unknown[] = [];
  const tools: ActionTools = {
    copytool: () => copytool,
    mountFd: -1,
    journal,
    events,
    log: pino({ level: 'silent' }),
    container: (id) => (id === 1 ? ({ archiveId: 1 } as ArchiveContainer) : undefined),
    movers: { archive: mover, restore: mover, remove: mover },
    moverTools: () => ({}) as MoverTools,
    gates: { archive: new BytesGate(1e9), restore: new BytesGate(1e9) },
    timings: () => options.timings ?? { heartbeatMs: 0, restoreFirstProgressMs: 1e9 },
    bulk: new Share(100),
    giveUp: options.giveUp ?? new AbortController().signal,
    onError: (_action, error) => errors.push(error),
  };
  const scheduler = new Scheduler({ maxActions: options.maxActions ?? 8, restoreReserved: 0 });
  const receiver = new Receiver(tools, scheduler);
  const finished: FinishedEvent[] = [];
  const recovered: RecoveredEvent[] = [];
  events.on('finished', (event) => finished.push(event));
  events.on('recovered', (event) => recovered.push(event));
  t.teardown(() => {
    journal.close();
    rmSync(dir, { recursive: true });
  });
  const checkClean = (): void => {
    t.same(copytool.misuse, [], 'no misuse of the interface');
    t.equal(journal.items, 0, 'nothing is left in the journal');
    for (const fd of copytool.fds) t.throws(() => fstatSync(fd), { code: 'EBADF' }, 'no descriptor is left');
  };
  /** The n-th job that a mover was given (from 0), as soon as it is there. */
  const job = async (n: number) => {
    while (jobs.length <= n) await new Promise<void>((resolve) => started.push(resolve));
    const found = jobs[n];
    if (!found) throw new Error(`no job ${n}`);
    return found;
  };
  return {
    receiver,
    scheduler,
    copytool,
    journal,
    job,
    jobs,
    finished,
    recovered,
    errors,
    events,
    checkClean,
  };
}

/** A test that ends with nothing left: no misuse, no item in the journal, no descriptor. */
export function rule(
  name: string,
  body: (t: Test, made: ReturnType<typeof rig>) => Promise<void>,
  options?: RigOptions,
): void {
  t.test(name, async (t) => {
    const made = rig(t, options);
    await body(t, made);
    made.checkClean();
  });
}

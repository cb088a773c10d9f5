// The scheduler: which received action runs next. Pure bookkeeping over tasks that run themselves; receiver.ts
// submits, agent.ts sets limits and drains. The queue has no bound (the kernel's pipe must always be drained),
// what runs has.
import type { Lane } from '../events.js';
import { LANES } from '../events.js';

/** What the scheduler knows of an action. */
export interface Task {
  /** itemKey of the item. */
  readonly key: string;
  /** Tasks of one file run one after the other, in the order of their submission. */
  readonly fid: string;
  readonly lane: Lane;
  /** Somebody's open or read waits: goes before the rest of its lane. */
  readonly blocking: boolean;
  /** Monotonic milliseconds. */
  readonly receivedAtMs: number;
  /** Does it all, the end at the MDT included. Must not reject. */
  run(): Promise<void>;
}

export interface SchedulerLimits {
  /** Tasks that run at once. */
  readonly maxActions: number;
  /** Of those, how many only restores may use. */
  readonly restoreReserved: number;
}

/** Queues in the order they are served. Restores that nobody waits for yet come after those of blocked readers. */
const QUEUES = ['on-access', 'restore', 'remove', 'archive'] as const;
type Queue = (typeof QUEUES)[number];

export class Scheduler {
  /** Tasks that may start; Maps keep the order and forget a task at once when it is cancelled. */
  readonly #ready: Record<Queue, Map<string, Task>> = {
    'on-access': new Map(),
    restore: new Map(),
    remove: new Map(),
    archive: new Map(),
  };
  /** Every queued task in order of submission, those waiting for their file included. */
  readonly #queued = new Map<string, Task>();
  readonly #running = new Map<string, Task>();
  /** By FID: the task whose turn it is, then those that wait for it. */
  readonly #chains = new Map<string, Task[]>();
  readonly #runningByLane: Record<Lane, number> = { restore: 0, remove: 0, archive: 0 };
  /** Of all that run, those that no reader waits for. */
  #runningUnawaited = 0;
  #limits: SchedulerLimits;
  #maxUnawaited = Infinity;
  #paused = false;
  #idle: (() => void)[] = [];
  #quiet: (() => void)[] = [];

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
  }

  setLimits(limits: SchedulerLimits): void {
    this.#limits = limits;
    this.#dispatch();
  }

  /** How many may run at once that no reader waits for; see loop-load.ts. */
  setMaxUnawaited(count: number): void {
    this.#maxUnawaited = count;
    this.#dispatch();
  }

  submit(task: Task): void {
    this.#queued.set(task.key, task);
    const chain = this.#chains.get(task.fid);
    if (chain) {
      chain.push(task);
      this.#promote(chain, task);
    } else {
      this.#chains.set(task.fid, [task]);
      this.#ready[queueOf(task)].set(task.key, task);
    }
    this.#dispatch();
  }

  /** The task of this key, queued or running. */
  find(key: string): { task: Task; state: 'queued' | 'running' } | undefined {
    const queued = this.#queued.get(key);
    if (queued) return { task: queued, state: 'queued' };
    const running = this.#running.get(key);
    return running && { task: running, state: 'running' };
  }

  /** Takes a task out of the queue; false when it is not queued (any more). */
  withdraw(key: string): boolean {
    const task = this.#queued.get(key);
    if (!task) return false;
    this.#queued.delete(key);
    this.#unready(task);
    this.#unchain(task);
    this.#dispatch();
    this.#checkIdle();
    return true;
  }

  /** Queued tasks, the longest waiting first. */
  queued(): Iterable<Task> {
    return this.#queued.values();
  }

  running(): Iterable<Task> {
    return this.#running.values();
  }

  /** For status and metrics; walks the queue. */
  lanes(): { lane: Lane; queued: number; running: number; oldestReceivedAtMs: number | undefined }[] {
    const lanes = LANES.map((lane) => ({
      lane,
      queued: 0,
      running: this.#runningByLane[lane],
      oldestReceivedAtMs: undefined as number | undefined,
    }));
    for (const task of this.#queued.values()) {
      const lane = lanes[LANES.indexOf(task.lane)];
      if (!lane) continue;
      lane.queued += 1;
      lane.oldestReceivedAtMs ??= task.receivedAtMs;
    }
    return lanes;
  }

  /** Lets nothing start until `resume`; resolves when nothing runs any more. */
  pause(): Promise<void> {
    this.#paused = true;
    return new Promise((resolve) => {
      this.#quiet.push(resolve);
      this.#checkIdle();
    });
  }

  resume(): void {
    this.#paused = false;
    this.#dispatch();
  }

  /** Resolves when nothing is queued or running. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#checkIdle();
    });
  }

  #dispatch(): void {
    for (let task = this.#next(); task; task = this.#next()) {
      this.#unready(task);
      this.#queued.delete(task.key);
      this.#running.set(task.key, task);
      this.#runningByLane[task.lane] += 1;
      if (queueOf(task) !== 'on-access') this.#runningUnawaited += 1;
      void this.#run(task);
    }
  }

  async #run(task: Task): Promise<void> {
    try {
      await task.run();
    } finally {
      this.#running.delete(task.key);
      this.#runningByLane[task.lane] -= 1;
      if (queueOf(task) !== 'on-access') this.#runningUnawaited -= 1;
      this.#unchain(task);
      this.#dispatch();
      this.#checkIdle();
    }
  }

  #next(): Task | undefined {
    const { maxActions, restoreReserved } = this.#limits;
    const total = this.#running.size;
    if (this.#paused || total >= maxActions) return undefined;
    // A quarter of the reserve is for blocked readers alone, so that a batch of restores cannot fill it.
    const onAccessReserved = Math.ceil(restoreReserved / 4);
    const others = this.#runningByLane.remove + this.#runningByLane.archive;
    for (const queue of QUEUES) {
      if (queue !== 'on-access' && this.#runningUnawaited >= this.#maxUnawaited) return undefined;
      if (queue === 'restore' && total >= maxActions - onAccessReserved) continue;
      if ((queue === 'remove' || queue === 'archive') && others >= maxActions - restoreReserved) continue;
      const first = this.#ready[queue].values().next();
      if (!first.done) return first.value;
    }
    return undefined;
  }

  /** A restore that waits behind a queued task of its file lends it its urgency. */
  #promote(chain: readonly Task[], waiter: Task): void {
    const head = chain[0];
    if (waiter.lane !== 'restore' || !head || !this.#queued.has(head.key)) return;
    const target = queueOf(waiter);
    if (QUEUES.indexOf(target) >= QUEUES.indexOf(queueOf(head))) return;
    this.#unready(head);
    this.#ready[target].set(head.key, head);
  }

  #unready(task: Task): void {
    for (const queue of QUEUES) this.#ready[queue].delete(task.key);
  }

  /** Takes a finished or withdrawn task out of its file's chain and makes the next one ready. */
  #unchain(task: Task): void {
    const chain = this.#chains.get(task.fid);
    if (!chain) return;
    const at = chain.indexOf(task);
    if (at >= 0) chain.splice(at, 1);
    const [head] = chain;
    if (!head) {
      this.#chains.delete(task.fid);
    } else if (at === 0) {
      this.#ready[queueOf(head)].set(head.key, head);
      for (const waiter of chain.slice(1)) this.#promote(chain, waiter);
    }
  }

  #checkIdle(): void {
    if (this.#running.size > 0) return;
    const waiting = this.#quiet;
    this.#quiet = [];
    if (this.#queued.size === 0) waiting.push(...this.#idle.splice(0));
    for (const resolve of waiting) resolve();
  }
}

function queueOf(task: Task): Queue {
  return task.lane === 'restore' && task.blocking ? 'on-access' : task.lane;
}

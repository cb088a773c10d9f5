// The receiver: drains the kernel's pipe and turns lists into journaled, scheduled actions, cancels included.
// agent.ts runs one receiver a registration.
import { CopytoolAction } from '../../native-bindings/constants.js';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { formatFid, type ActionItem, type ActionList, type Copytool } from '../../native-bindings/lustre.js';
import { RequestFlag } from '../../native-bindings/constants.js';
import { Action, kindOf, STOP_REASONS, type ActionTools, type ReceivedAction } from './action.js';
import { itemKey, type JournalEntry } from './journal.js';
import type { Scheduler } from './scheduler.js';

/** Turns what arrives into actions of the scheduler. */
export class Receiver {
  readonly #tools: ActionTools;
  readonly #scheduler: Scheduler;
  readonly #live = new Map<string, Action>();
  /** Ends of actions that never ran: unknown cancels and withdrawn actions. */
  readonly #ending = new Set<Promise<void>>();
  /** Items that came again while the end of their former life was under way: its successors, maybe cancelled already. */
  readonly #parked = new Map<string, { readonly received: ReceivedAction; readonly canceled: boolean }>();
  #intake: 'run' | 'hold' | 'leave' = 'run';

  constructor(tools: ActionTools, scheduler: Scheduler) {
    this.#tools = tools;
    this.#scheduler = scheduler;
  }

  /** Received and not ended, in the order of their receipt. */
  actions(): Iterable<Action> {
    return this.#live.values();
  }

  /**
   * Receives until `signal` aborts. Rejects with LhsmError ESHUTDOWN when the file system is going away, and with
   * whatever else the library says that trying again does not mend.
   */
  async receive(copytool: Copytool, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let lists: ActionList[];
      try {
        lists = await copytool.receive(signal);
      } catch (error) {
        if (!hasCode(error, 'EPROTO')) throw error;
        // A message that the library itself could not make sense of; the next one may be good.
        this.#malformed(0, 0, (error as Error).message);
        continue;
      }
      for (const list of lists) this.accept(list);
    }
  }

  /**
   * What becomes of what arrives from now on. The pipe must be drained until the registration ends, but at a
   * shutdown nothing new is begun: `hold` keeps it for stopAll to end (ended at once, a coordinator that honours
   * RETRY would send it straight back), `leave` only notes it in the journal for the next process.
   */
  intake(mode: 'hold' | 'leave'): void {
    this.#intake = mode;
  }

  /** Takes one decoded list in. */
  accept(list: ActionList): void {
    if (list.malformed !== undefined) this.#malformed(list.archiveId, list.items.length, list.malformed);
    const blocking = (list.flags & RequestFlag.BLOCKING) !== 0n;
    const counts = new Map<ReturnType<typeof kindOf>, number>();
    for (const item of list.items)
      counts.set(kindOf(item.action), (counts.get(kindOf(item.action)) ?? 0) + 1);
    for (const [kind, count] of counts) {
      this.#tools.events.emit('received', { archiveId: list.archiveId, kind, count, blocking });
    }
    const receivedAtMs = performance.now();
    const fresh: ReceivedAction[] = [];
    for (const item of list.items) {
      if (item.action === CopytoolAction.CANCEL) continue;
      const received = { item, archiveId: list.archiveId, flags: list.flags, receivedAtMs };
      const former = this.#live.get(itemKey(item));
      if (!former) fresh.push(received);
      // Ended with RETRY, it comes again with the same cookie, maybe before we are through with the end. While it
      // is in hand otherwise (the MDT sends again after a restart, say), its end is still to come.
      else if (former.ending) this.#parked.set(former.key, { received, canceled: false });
    }
    this.#journal(fresh);
    for (const received of fresh) this.#submit(received);
    for (const item of list.items) {
      if (item.action === CopytoolAction.CANCEL) this.#cancel(item, list, receivedAtMs);
    }
  }

  /** Takes up what a dead process left. `decode` reads ActionItem.raw. */
  recover(entries: readonly JournalEntry[], decode: (raw: Buffer) => ActionItem): void {
    for (const { key, raw, archiveId, flags, progressed } of entries) {
      let item: ActionItem;
      try {
        item = decode(raw);
      } catch (error) {
        this.#tools.log.error(
          { key, err: error },
          'the journal holds an item that cannot be read: left alone',
        );
        this.#tools.journal.ended(key);
        continue;
      }
      this.#submit({ item, archiveId, flags, receivedAtMs: performance.now(), recovered: { progressed } });
    }
  }

  /** Ends all that is queued or held and stops all that runs; resolves when each has had its end. */
  async stopAll(reason: LhsmError): Promise<void> {
    for (const action of [...this.#live.values()]) {
      const running = this.#scheduler.find(action.key)?.state === 'running';
      if (running) action.stop(reason);
      else {
        this.#scheduler.withdraw(action.key);
        this.#end(action, reason);
      }
    }
    await this.settled();
  }

  /** Stops what runs; what is queued stays queued. */
  stopRunning(reason: LhsmError): void {
    for (const { key } of this.#scheduler.running()) this.#live.get(key)?.stop(reason);
  }

  /**
   * Nothing starts any more, what runs may finish until `graceMs` have passed and is then ended with `reason`. What is
   * queued stays queued. `resume` of the scheduler lets it go on.
   */
  async quiesce(graceMs: number, reason: LhsmError): Promise<void> {
    const timer = setTimeout(() => {
      this.stopRunning(reason);
    }, graceMs);
    try {
      await this.#scheduler.pause();
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Behind quiesce, with nothing received any more: ends what had begun before its turn, and waits until no C call
   * is under way that uses the registration.
   */
  async letGo(reason: LhsmError): Promise<void> {
    for (const action of [...this.#live.values()]) {
      await action.settled();
      if (action.begun && this.#scheduler.withdraw(action.key)) this.#end(action, reason);
    }
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  /** Resolves when nothing is queued, running or being ended. */
  async settled(): Promise<void> {
    await this.#scheduler.idle();
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  #submit(received: ReceivedAction): void {
    if (this.#intake === 'leave') return;
    const action = new Action(received, this.#tools);
    this.#live.set(action.key, action);
    this.#tools.events.emit('queued', { kind: action.kind, lane: action.lane });
    if (this.#intake === 'hold') return;
    this.#scheduler.submit({
      key: action.key,
      fid: action.fid,
      lane: action.lane,
      blocking: action.blocking,
      receivedAtMs: action.receivedAtMs,
      run: async () => {
        await action.run();
        this.#forget(action);
      },
    });
  }

  #cancel(item: ActionItem, list: ActionList, receivedAtMs: number): void {
    const action = this.#live.get(itemKey(item));
    this.#tools.log.info(
      { fid: formatFid(item.fid), cookie: `0x${item.cookie.toString(16)}`, known: action !== undefined },
      'cancel received',
    );
    if (!action) {
      // Left by a dead process: answering with the item as received clears it at the MDT.
      const received = { item, archiveId: list.archiveId, flags: list.flags, receivedAtMs };
      this.#end(new Action(received, this.#tools), STOP_REASONS.canceled());
    } else if (action.ending) {
      // Too late for this one; but what came again meanwhile is the one that is meant.
      const successor = this.#parked.get(action.key);
      if (successor) this.#parked.set(action.key, { ...successor, canceled: true });
    } else if (this.#scheduler.find(action.key)?.state === 'running') {
      action.stop(STOP_REASONS.canceled());
    } else {
      this.#scheduler.withdraw(action.key);
      this.#end(action, STOP_REASONS.canceled());
    }
  }

  /** An action has had its end: a successor may begin. */
  #forget(action: Action): void {
    if (this.#live.get(action.key) !== action) return;
    this.#live.delete(action.key);
    const successor = this.#parked.get(action.key);
    if (!successor) return;
    this.#parked.delete(action.key);
    this.#journal([successor.received]);
    if (!successor.canceled) {
      this.#submit(successor.received);
      return;
    }
    const next = new Action(successor.received, this.#tools);
    this.#live.set(next.key, next);
    this.#end(next, STOP_REASONS.canceled());
  }

  /** Ends what never ran. One whose end is under way is left alone: a second one would forget it too early. */
  #end(action: Action, reason: LhsmError): void {
    if (action.ending) return;
    const ending = action.endUnstarted(reason).finally(() => {
      this.#ending.delete(ending);
      this.#forget(action);
    });
    this.#ending.add(ending);
  }

  #journal(actions: readonly ReceivedAction[]): void {
    try {
      this.#tools.journal.received(
        actions.map(({ item, archiveId, flags }) => ({
          key: itemKey(item),
          raw: item.raw,
          archiveId,
          flags,
        })),
      );
    } catch (error) {
      // A reader may be waiting: go on without the safety net rather than not at all.
      this.#tools.log.error({ err: error }, 'items received without a note in the journal');
    }
  }

  #malformed(archiveId: number, decoded: number, reason: string): void {
    this.#tools.log.error({ archive_id: archiveId, decoded, reason }, 'a receive buffer does not decode');
    this.#tools.events.emit('malformed', { archiveId, decoded, reason });
  }
}

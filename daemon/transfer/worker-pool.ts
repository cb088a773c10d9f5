// The workers as the main thread sees them: a command in, one answer out, counters that move meanwhile. download.ts and
// upload.ts call it. Without threads the same work is done here.
import { wireAddon } from '../../native-bindings/wire-addon.js';
import type { Ends } from '../stop.js';
import { Numbered } from './numbered.js';
import { Followers, type Followed } from './progress-slots.js';
import { FULL, Seat, type PoolOptions } from './seat.js';
import type { TransferCounters } from './transfer.js';
import type { Answer, DoneEvent, GetCommand, How, PutCommand, WorkerEvent } from './worker/messages.js';

export type { PoolOptions };
export type GetRequest = Omit<GetCommand, 'type' | 'id' | 'slot'>;
export type PutRequest = Omit<PutCommand, 'type' | 'id' | 'slot' | 'hold'>;

interface Running {
  readonly seat: Seat;
  /** Its part of the seat's load. */
  readonly load: number;
  readonly followed: Followed;
  /** GET: where it starts. */
  readonly start: number;
  /** Until it has been called, which is once. */
  onHead: ((answer: Answer) => How) | undefined;
  readonly onRead: ((crc: bigint) => Promise<string>) | undefined;
  readonly signal: Ends;
  readonly abort: () => void;
  /** `onRead` under way: it may touch the descriptor. */
  reading: Promise<void> | undefined;
  /** What our own side threw: it is why the job was aborted. */
  refusal: { readonly error: unknown } | undefined;
  readonly resolve: (done: DoneEvent) => void;
  readonly reject: (error: unknown) => void;
}

export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #seats: Seat[] = [];
  readonly #running = new Numbered<Running>();
  readonly #followers = new Followers();
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /**
   * Gets a range into a descriptor. `onHead` is called once with a success's headers: it answers how to write, or throws to
   * refuse, which is what this then rejects with. That is before a byte is written, unless the answer is as expected:
   * then it is when the range, or what has come of it, is written. All other failures are in the answer.
   */
  get(
    request: GetRequest,
    onHead: (answer: Answer) => How,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent> {
    const load = wireAddon() ? 1 : FULL;
    return this.#run(
      { start: request.start, onHead, onRead: undefined, counters, signal, load },
      (id, slot) => {
        const { target, fd, start, end, fileBytes, expected } = request;
        return { type: 'get', id, target, fd, start, end, fileBytes, slot, expected };
      },
    );
  }

  /** Puts a piece of a descriptor. `onRead`, if given, is called when it is read: it answers more header lines. */
  put(
    request: PutRequest,
    onRead: ((crc: bigint) => Promise<string>) | undefined,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent> {
    const hold = onRead !== undefined;
    return this.#run({ start: 0, onHead: undefined, onRead, counters, signal, load: FULL }, (id, slot) => ({
      ...request,
      type: 'put',
      id,
      slot,
      hold,
    }));
  }

  /** Aborts what is under way, waits for it, and ends the threads. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#seats.map((seat) => seat.close()));
    this.#seats.length = 0;
    this.#followers.close();
  }

  #run(
    job: Pick<Running, 'start' | 'onHead' | 'onRead' | 'signal' | 'load'> & {
      readonly counters: TransferCounters;
    },
    command: (id: number, slot: number) => GetCommand | PutCommand,
  ): Promise<DoneEvent> {
    return new Promise((resolve, reject) => {
      const { start, onHead, onRead, counters, signal, load } = job;
      const seat = this.#seat(load);
      const followed = this.#followers.begin(seat.slots, counters);
      const abort = (): void => {
        seat.send({ type: 'abort', id });
      };
      const running: Running = {
        seat,
        load,
        followed,
        start,
        onHead,
        onRead,
        signal,
        abort,
        reading: undefined,
        refusal: undefined,
        resolve,
        reject,
      };
      const id = this.#running.add(running);
      seat.load += load;
      seat.send(command(id, followed.slot));
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** The first worker that has room for it; or a new one while there are fewer than configured; or the one with the least to do. */
  #seat(load: number): Seat {
    if (this.#closed) throw new Error('the transfer engine is closed');
    const wanted = Math.max(1, this.#options.workers);
    const roomy = this.#seats.find((seat) => seat.load + load <= FULL);
    if (roomy) return roomy;
    if (this.#seats.length < wanted) {
      const seat: Seat = new Seat(
        this.#options,
        (event) => {
          this.#hear(event);
        },
        (error) => {
          this.#lost(seat, error);
        },
      );
      this.#seats.push(seat);
      return seat;
    }
    return this.#seats.reduce((least, seat) => (seat.load < least.load ? seat : least));
  }

  #hear(event: WorkerEvent): void {
    const running = this.#running.get(event.id);
    if (!running) return;
    if (event.type === 'done') this.#settle(event, running);
    else if (event.type === 'head') this.#head(event.id, running, event.answer);
    else running.reading = this.#read(event.id, running, event.crc);
  }

  #head(id: number, running: Running, answer: Answer): void {
    const how = this.#judge(running, answer);
    running.seat.send(how ? { type: 'go', id, ...how } : { type: 'abort', id });
  }

  #judge(running: Running, answer: Answer): How | undefined {
    const { onHead } = running;
    running.onHead = undefined;
    try {
      return onHead?.(answer) ?? {};
    } catch (error) {
      running.refusal = { error };
      return undefined;
    }
  }

  async #read(id: number, running: Running, crc: bigint): Promise<void> {
    try {
      const headers = (await running.onRead?.(crc)) ?? '';
      running.seat.send({ type: 'go', id, headers });
    } catch (error) {
      running.refusal = { error };
      running.seat.send({ type: 'abort', id });
    }
  }

  #settle(done: DoneEvent, running: Running): void {
    const { seat, load, followed, start } = running;
    // What was expected has been written without a word: it is judged now.
    if (done.answer && running.onHead && done.failure?.kind !== 'aborted') this.#judge(running, done.answer);
    this.#running.delete(done.id);
    seat.load -= load;
    this.#followers.end(followed);
    if (!running.refusal) followed.reach(done.bytes - start);
    if (running.reading)
      void running.reading.then(() => {
        settled(running, done);
      });
    else settled(running, done);
  }

  /** A thread has ended by itself: what it had in hand is told to have failed, and can be tried again. */
  #lost(seat: Seat, error: Error): void {
    const index = this.#seats.indexOf(seat);
    if (index < 0) return;
    if (!this.#closed) {
      this.#seats.splice(index, 1);
      this.#options.onDeath?.(error);
    }
    for (const [id, running] of this.#running.entries()) {
      if (running.seat !== seat) continue;
      const failure = { kind: 'broken', what: `a transfer thread ended: ${error.message}` } as const;
      this.#settle({ type: 'done', id, bytes: running.start, crc: 0n, failure }, running);
    }
  }
}

function settled(running: Running, done: DoneEvent): void {
  const { signal, abort, refusal, resolve, reject } = running;
  signal.removeEventListener('abort', abort);
  if (refusal) reject(refusal.error);
  else resolve(done);
}

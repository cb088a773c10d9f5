// One keep-alive connection: a request at a time, its answer read straight to where it belongs. `onread` costs what a
// read(2) costs; every layer above it (streams, node:http) costs a multiple. connections.ts keeps them.
import type { Answer } from './messages.js';
import { BadAnswer, ChunkDecoder, parseHead, type Head } from './response-parser.js';
import { WireError } from './wire-error.js';
import { endOf, openWire, type TlsMeans, type Wire, type WireSource } from './wire.js';

/** Holds a head, and the body behind it where both fit: small files need no other memory. */
const RECEIVE_BYTES = 64 * 1024;

/** The largest body for which there is always room behind its head. */
export const SMALL_BODY_BYTES = 32 * 1024;

/** Takes a body's bytes where they belong. */
export interface BodySink {
  /** Where the next bytes go, never empty; undefined when there is no room now. */
  room(): Buffer | undefined;
  /** So many bytes have been put at the beginning of what `room` gave. */
  filled(bytes: number): void;
}

/** Takes a body of known length off the wire by itself. */
export interface BodyTaker {
  /**
   * Takes all of the body but `first`, which has come already and stays where it is meanwhile; answers whether more has
   * come behind it. Rejects when it cannot; in any case the source is not used any more when it settles.
   */
  take(first: Buffer, source: WireSource): Promise<boolean>;
  /** Nobody waits for it any more. */
  stop(): void;
}

export interface Exchange {
  /**
   * The head has come. Answers where its body goes; undefined keeps it in the connection's own buffer, if it fits
   * there, and else refuses it. A taker may be answered where `canLend` says that the body can be taken off the wire.
   * Throws to give up the request, and the connection with it.
   */
  onHead(answer: Answer, canLend: boolean): BodySink | BodyTaker | undefined;
}

/** What there is of an answer when all of it has come. */
export interface Received {
  readonly answer: Answer;
  /** The body, when it was kept here: good until the connection is released. */
  readonly body: Buffer;
}

interface Active {
  readonly exchange: Exchange;
  readonly resolve: (received: Received) => void;
  readonly reject: (error: Error) => void;
}

export interface ConnectionOptions {
  /** `http:` or `https:`, host and port. */
  readonly origin: URL;
  readonly tls: TlsMeans | undefined;
  readonly ticket: Buffer | undefined;
  readonly onTicket: (ticket: Buffer) => void;
}

export class Connection {
  readonly isTls: boolean;
  /** How many requests it has carried. */
  requests = 0;
  /** When something last moved, or began to be waited for; performance.now. */
  lastMoveMs = performance.now();
  /** When its last request was over. */
  idleSinceMs = 0;
  readonly #wire: Wire;
  /** The memory of head and small body; what arrives in a pause, too. */
  readonly #memory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  #active: Active | undefined;
  #head: Head | undefined;
  /** Where the read after this one goes. */
  #target: Buffer = this.#memory;
  /** Bytes of a head so far. */
  #headBytes = 0;
  /** Bytes that the body still has; with chunks, unknown. */
  #left = 0;
  #chunks: ChunkDecoder | undefined;
  #sink: BodySink | undefined;
  /** Who takes the body off the wire by itself, and its work until it is over. */
  #taker: BodyTaker | undefined;
  #taking: Promise<void> | undefined;
  /** A body kept here: where it begins and ends in #memory. */
  #kept = { from: 0, to: 0 };
  /** What arrived while there was no room. */
  #spilled: Buffer[] = [];
  #paused = false;
  #held = false;
  #overrun = false;
  #reusable = true;
  #failure: Error | undefined;
  /** The peer has gone while there was no room for what it had sent: so it fails, or not, when that is taken. */
  #end: Error | undefined;
  readonly #closed: Promise<void>;

  constructor(options: ConnectionOptions) {
    const { origin } = options;
    const { host, port, isTls } = endOf(origin);
    this.isTls = isTls;
    let resolveClosed = (): void => undefined;
    this.#closed = new Promise((resolve) => {
      resolveClosed = resolve;
    });
    this.#wire = openWire(
      { host, port, tls: options.tls, ticket: options.ticket, onTicket: options.onTicket },
      {
        target: () => this.#target,
        received: (into, bytes) => this.#received(into, bytes),
        stirred: () => {
          this.lastMoveMs = performance.now();
        },
        error: ({ code = 'UNKNOWN', message }) => {
          this.#ended(new WireError({ kind: 'network', code, message }));
        },
        closed: () => {
          this.#ended(new WireError({ kind: 'broken', what: 'the connection was closed' }));
          resolveClosed();
        },
      },
    );
  }

  /** Whether another request may be sent. */
  get reusable(): boolean {
    return this.#reusable && this.#active === undefined && this.#wire.writable;
  }

  /** Whether bytes have come unasked: what a whole answer left in the connection's memory may be overwritten. */
  get overrun(): boolean {
    return this.#overrun;
  }

  /** Whether a request waits for the peer, and not for us. */
  get waitsForPeer(): boolean {
    return this.#active !== undefined && !this.#paused && !this.#held;
  }

  /** While it is held, the peer waits for us: for a file that is read slowly, say. */
  hold(isHeld: boolean): void {
    this.#held = isHeld;
    this.lastMoveMs = performance.now();
  }

  /**
   * Begins a request; `send` writes it. Resolves with the whole answer, rejects with WireError (network, broken,
   * bad-answer, or what `fail` was given) or what `onHead` throws; then the connection is destroyed.
   */
  begin(exchange: Exchange): Promise<Received> {
    if (this.#failure) return Promise.reject(this.#failure);
    this.requests += 1;
    this.#head = undefined;
    this.#headBytes = 0;
    this.lastMoveMs = performance.now();
    return new Promise((resolve, reject) => {
      this.#active = { exchange, resolve, reject };
    });
  }

  /** Resolves when the bytes have been handed to the kernel, or can no longer be: the answer tells the rest. */
  send(bytes: Buffer | string): Promise<void> {
    if (this.#wire.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const sent = (): void => {
        this.lastMoveMs = performance.now();
        resolve();
      };
      this.#wire.write(bytes, sent);
    });
  }

  /** Sends what nobody waits for to be sent. */
  sendNow(text: string): void {
    if (!this.#wire.destroyed) this.#wire.write(text);
  }

  /** There is room again: takes what has arrived meanwhile, and reads on. */
  resume(): void {
    if (!this.#paused || (this.#wire.destroyed && !this.#end)) return;
    this.#paused = false;
    this.lastMoveMs = performance.now();
    try {
      for (let first = this.#spilled.shift(); first; first = this.#spilled.shift()) {
        const taken = this.#copy(first);
        if (taken === first.length) continue;
        this.#spilled.unshift(first.subarray(taken));
        this.#paused = true;
        return;
      }
      if (!this.#end) this.#aim();
      this.#finishIfWhole();
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (this.#end) this.#fail(this.#end);
    else this.#wire.resume();
  }

  /** Gives up: the request in hand fails with this. */
  fail(error: Error): void {
    this.#fail(error);
  }

  /** Resolves when the kernel holds no reference to any buffer of ours. */
  async destroy(): Promise<void> {
    this.#reusable = false;
    this.#wire.destroy();
    await this.#closed;
    await this.#taking;
  }

  /** There will be no more from the peer. */
  #ended(error: Error): void {
    this.#end ??= error;
    if (this.#spilled.length === 0 || !this.#active) this.#fail(this.#end);
  }

  #fail(raw: Error): void {
    const error = raw instanceof BadAnswer ? new WireError({ kind: 'bad-answer', what: raw.message }) : raw;
    this.#failure ??= error;
    this.#reusable = false;
    const active = this.#active;
    this.#active = undefined;
    this.#taker?.stop();
    this.#wire.destroy();
    active?.reject(error);
  }

  /** The `onread` callback: so many bytes lie at the beginning of `into`. False stops the reading. */
  #received(into: Buffer, bytes: number): boolean {
    this.lastMoveMs = performance.now();
    if (!this.#active) {
      // Nobody has asked: a peer that speaks unasked cannot be trusted to mean the next request.
      this.#overrun = true;
      this.#fail(new WireError({ kind: 'bad-answer', what: 'an answer to no request' }));
      return false;
    }
    try {
      if (this.#head === undefined) this.#takeHead(bytes);
      else if (this.#sink && into.buffer !== this.#memory.buffer && bytes <= this.#left) {
        // Nearly every read is one of these: the bytes lie where they belong.
        this.#left -= bytes;
        this.#sink.filled(bytes);
      } else this.#takeBody(into.subarray(0, bytes));
      this.#aim();
      this.#finishIfWhole();
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
    return !this.#paused;
  }

  #takeHead(bytes: number): void {
    this.#headBytes += bytes;
    const seen = this.#memory.subarray(0, this.#headBytes);
    const parsed = parseHead(seen);
    if (!parsed) return;
    const { head } = parsed;
    this.#head = head;
    const hasLength = head.framing.kind === 'length';
    const place = this.#active?.exchange.onHead(head, hasLength && this.#wire.lendable);
    this.#sink = place && 'room' in place ? place : undefined;
    this.#chunks = head.framing.kind === 'chunked' ? new ChunkDecoder() : undefined;
    this.#left = head.framing.kind === 'length' ? head.framing.bytes : 0;
    this.#kept = { from: parsed.bytes, to: parsed.bytes };
    const rest = seen.subarray(parsed.bytes);
    if (place && 'take' in place) {
      this.#lend(place, rest);
      return;
    }
    if (this.#sink) {
      if (rest.length > 0) this.#takeBody(rest);
      return;
    }
    if (this.#chunks) {
      // Decoded in place: what is taken off only makes it shorter.
      this.#takeBody(rest);
      return;
    }
    if (parsed.bytes + this.#left > RECEIVE_BYTES) throw new BadAnswer('a body larger than it can be');
    if (rest.length > this.#left) throw new BadAnswer('a body longer than its length');
    this.#kept.to += rest.length;
    this.#left -= rest.length;
  }

  /** Has somebody else take the body off the wire, of which `first` has come. */
  #lend(taker: BodyTaker, first: Buffer): void {
    if (first.length > this.#left) throw new BadAnswer('a body longer than its length');
    this.#paused = true;
    this.#taker = taker;
    this.#taking = taker
      .take(first, this.#wire.lend())
      .then(
        (hasMore) => {
          this.#left = 0;
          // It would be taken for the answer to a request that comes before it is read.
          this.#reusable &&= !hasMore;
          return undefined;
        },
        (error: unknown) => error as Error,
      )
      .then((failure) => {
        this.#taker = undefined;
        this.#wire.takeBack();
        if (failure) this.#fail(failure);
        else this.#resumeLent();
      });
  }

  #resumeLent(): void {
    if (this.#wire.destroyed) return;
    this.#paused = false;
    this.lastMoveMs = performance.now();
    this.#finishIfWhole();
    this.#wire.resume();
  }

  /** Bytes that lie in #memory, and belong to the sink if there is one. */
  #takeBody(bytes: Buffer): void {
    if (this.#chunks) {
      const used = this.#chunks.feed(bytes, (content) => {
        this.#deliver(content);
      });
      if (used < bytes.length) throw new BadAnswer('bytes behind the last chunk');
      return;
    }
    if (bytes.length > this.#left) throw new BadAnswer('a body longer than its length');
    this.#left -= bytes.length;
    if (this.#sink) this.#deliver(bytes);
    else this.#kept.to += bytes.length;
  }

  /** Content that does not lie where it belongs yet. */
  #deliver(content: Buffer): void {
    if (!this.#sink) {
      if (this.#kept.to + content.length > RECEIVE_BYTES) throw new BadAnswer('a body larger than it can be');
      content.copy(this.#memory, this.#kept.to);
      this.#kept.to += content.length;
      return;
    }
    const taken = this.#spilled.length > 0 ? 0 : this.#copy(content);
    if (taken === content.length) return;
    // What was read beyond the room there is, at most one read of it, and over TLS what was already decrypted.
    this.#spilled.push(Buffer.from(content.subarray(taken)));
    this.#paused = true;
  }

  /** Copies what there is room for; answers how much. */
  #copy(content: Buffer): number {
    let taken = 0;
    while (taken < content.length) {
      const room = this.#sink?.room();
      if (!room) break;
      const bytes = content.copy(room, 0, taken);
      this.#sink?.filled(bytes);
      taken += bytes;
    }
    return taken;
  }

  /** Decides where the next read goes. */
  #aim(): void {
    // Never to an empty buffer, not even when this throws: Node's TLS would try for ever to put a byte into it.
    this.#target = this.#memory;
    // The next read is that of the next head.
    if (this.#taker) return;
    if (this.#head === undefined) {
      if (this.#headBytes === RECEIVE_BYTES) throw new BadAnswer('headers that do not end');
      this.#target = this.#memory.subarray(this.#headBytes);
      return;
    }
    if (!this.#sink) {
      // Chunks of a body that is kept are read behind it, and decoded towards the front.
      if (this.#kept.to < RECEIVE_BYTES) this.#target = this.#memory.subarray(this.#kept.to);
      else if (this.#left > 0 || this.#chunks) throw new BadAnswer('a body larger than it can be');
      return;
    }
    if (this.#chunks || this.#left === 0) return;
    const room = this.#spilled.length > 0 ? undefined : this.#sink.room();
    if (!room) {
      this.#paused = true;
      return;
    }
    this.#target = room.length > this.#left ? room.subarray(0, this.#left) : room;
  }

  #finishIfWhole(): void {
    const head = this.#head;
    const active = this.#active;
    if (!head || !active || this.#spilled.length > 0) return;
    if (this.#chunks ? !this.#chunks.done : this.#left > 0) return;
    this.#active = undefined;
    this.#paused = false;
    this.#reusable &&= head.keepAlive;
    this.#target = this.#memory;
    this.idleSinceMs = performance.now();
    active.resolve({ answer: head, body: this.#memory.subarray(this.#kept.from, this.#kept.to) });
  }
}

// The agents of a file system, for the status of any of them: each daemon writes a card into the logging container, every half
// minute, and takes it away when it stops. agent.ts makes one where there is a logging container.
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { LoggingContainer } from '../blobs/logging-container.js';
import { escapeMount } from '../config/mount-name.js';
import { mapBounded } from './bounded.js';
import { documentText } from './document.js';

export interface AgentCard {
  readonly schema: 1;
  readonly version: string;
  readonly host: string;
  readonly mount: string;
  readonly pid: number;
  readonly registered: boolean;
  /** Empty: every one. */
  readonly archiveIds: readonly number[];
  readonly lanes: readonly {
    readonly lane: string;
    readonly queued: number;
    readonly running: number;
    readonly actionsPerSecond: number;
    readonly bytesPerSecond: number;
    readonly oldestQueuedMs?: number | undefined;
  }[];
  readonly inFlight: number;
  readonly lastError?: { readonly time: string; readonly code: string; readonly message: string } | undefined;
}

/** As any node reads it. */
export interface KnownAgent extends AgentCard {
  /** When it was written, by the service's clock: ISO 8601, UTC. */
  readonly updatedTime: string;
  /** It should have been written again since: the daemon is down, or cut off. */
  readonly stale: boolean;
}

export interface BoardPlace {
  readonly container: Pick<LoggingContainer, 'list' | 'read' | 'write' | 'delete'>;
  readonly fileSystem: string;
}

export interface AgentBoardOptions {
  readonly mount: string;
  readonly place: (signal: AbortSignal) => Promise<BoardPlace>;
  readonly card: () => Omit<AgentCard, 'schema' | 'host' | 'mount'>;
  readonly log: Logger;
  readonly host?: string;
  readonly periodMs?: number;
  readonly now?: () => number;
}

const PERIOD_MS = 30_000;
const STALE_PERIODS = 3;
/** Of nodes that are gone for good. */
const REMOVE_MS = 86_400_000;
/** Read so seldom, however often it is asked for. */
const CACHE_MS = 10_000;
const READS = 8;
const MAX_AGENTS = 1000;
const CLOSE_MS = 5_000;

export class AgentBoard {
  readonly #options: AgentBoardOptions;
  readonly #name: string;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #written = false;
  #failed = false;
  #known: { readonly atMs: number; readonly agents: readonly KnownAgent[] } | undefined;

  constructor(options: AgentBoardOptions) {
    this.#options = options;
    // It may be anything that an administrator has set.
    const host = (options.host ?? hostname()).replaceAll(/[^\w.-]/g, '_');
    this.#name = `${host}-${escapeMount(options.mount)}.json`;
  }

  /** Writes the card, now and from time to time. */
  start(): void {
    const { periodMs = PERIOD_MS } = this.#options;
    const write = (): void => {
      this.#writing = this.#writing.then(() => this.#write());
    };
    write();
    this.#timer = setInterval(write, periodMs).unref();
  }

  /** Of all nodes, by name. Rejects with what the logging container throws. */
  async agents(signal: AbortSignal): Promise<readonly KnownAgent[]> {
    const { now = Date.now } = this.#options;
    if (this.#known && now() - this.#known.atMs < CACHE_MS) return this.#known.agents;
    const agents = await this.#read(signal);
    this.#known = { atMs: now(), agents };
    return agents;
  }

  /** Takes the card away. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.#writing;
    if (!this.#written) return;
    const signal = AbortSignal.timeout(CLOSE_MS);
    try {
      const place = await this.#options.place(signal);
      await place.container.delete(this.#blob(place), signal);
    } catch (err) {
      this.#options.log.debug({ err }, 'the card of this agent stays; it is stale soon');
    }
  }

  #blob({ fileSystem }: BoardPlace, name = this.#name): string {
    return `${fileSystem}/agents/${name}`;
  }

  /** Never rejects: it is only for people. */
  async #write(): Promise<void> {
    const { card, mount, place: find, log, host = hostname(), periodMs = PERIOD_MS } = this.#options;
    if (this.#closing.signal.aborted) return;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(periodMs)]);
    try {
      const place = await find(signal);
      const text = documentText({ schema: 1, host, mount, ...card() });
      // Once it may be there it is to be taken away.
      this.#written = true;
      await place.container.write(this.#blob(place), text, { contentType: 'application/json' }, signal);
      this.#failed = false;
    } catch (err) {
      if (isAborted(this.#closing.signal) || this.#failed) return;
      this.#failed = true;
      log.warn({ err }, 'other nodes cannot see this agent: its card could not be written');
    }
  }

  async #read(signal: AbortSignal): Promise<KnownAgent[]> {
    const { place: find, periodMs = PERIOD_MS, now = Date.now } = this.#options;
    const place = await find(signal);
    const names: { readonly name: string; readonly atMs: number }[] = [];
    for await (const { name, lastModified } of place.container.list(this.#blob(place, ''), signal)) {
      const atMs = lastModified.getTime();
      if (now() - atMs < REMOVE_MS) names.push({ name, atMs });
      else await place.container.delete(name, signal);
      if (names.length >= MAX_AGENTS) break;
    }
    const cards = await mapBounded(names, READS, async ({ name, atMs }): Promise<KnownAgent | undefined> => {
      const found = await place.container.read(name, signal);
      const card = found && cardOf(found.body);
      if (!card) return undefined;
      const stale = now() - atMs > STALE_PERIODS * periodMs;
      return { ...card, updatedTime: new Date(atMs).toISOString(), stale };
    });
    return cards.filter((card) => card !== undefined);
  }
}

/** A call, for the compiler believes that a flag it has once seen false stays so. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** undefined for what is none: of another version, say. */
function cardOf(body: Buffer): AgentCard | undefined {
  try {
    const card = JSON.parse(body.toString('utf8')) as Partial<AgentCard> | null;
    const isCard =
      card?.schema === 1 &&
      typeof card.host === 'string' &&
      typeof card.mount === 'string' &&
      typeof card.version === 'string' &&
      Array.isArray(card.archiveIds) &&
      Array.isArray(card.lanes);
    return isCard ? (card as AgentCard) : undefined;
  } catch {
    return undefined;
  }
}

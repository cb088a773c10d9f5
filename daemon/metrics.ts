// The daemon's metrics: counts what the agent's events tell, and asks the agent for the rest when scraped.
// main.ts or agent.ts creates it; control/http.ts serves it.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { errnoName } from '../native-bindings/errors.js';
import { EventLoopMonitor } from './event-loop.js';
import {
  ACTION_KINDS,
  LANES,
  type ActionKind,
  type AgentEmitter,
  type JobEvent,
  type Lane,
} from './events.js';
import { isFinal } from './jobs/job.js';
import { METRICS, type MetricDefinition, type MetricName } from './metric-definitions.js';

/** What a scrape asks of the agent; AgentStatus fits. */
export interface MetricsSource {
  readonly lanes: readonly {
    readonly lane: Lane;
    readonly queued: number;
    readonly running: number;
    readonly oldestQueuedMs: number | undefined;
  }[];
  readonly inFlight: readonly { readonly kind: ActionKind; readonly bytes: number; readonly ageMs: number }[];
}

export interface MetricsOptions {
  readonly events: AgentEmitter;
  readonly version: string;
  /** Called at each scrape; undefined while there is no agent to ask. */
  readonly source: () => MetricsSource | undefined;
  /** Process and Node metrics, too. They install observers for the life of the process. */
  readonly processMetrics?: boolean;
}

/** What the admin server needs of the metrics. */
export interface Metrics {
  readonly contentType: string;
  /** The text of a scrape. */
  render(): Promise<string>;
  /** The names of all metrics, those of the process included. */
  names(): string[];
  eventLoop(): EventLoopMonitor;
  /** Stops listening and measuring. */
  close(): void;
}

type Labels = Readonly<Record<string, string | number>>;

/** Codes come from our own errors; should one not, a label must still not grow without bound. */
const MAX_CODES = 200;

const directions: Readonly<Partial<Record<ActionKind, 'upload' | 'download'>>> = {
  archive: 'upload',
  restore: 'download',
};

class PromMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #eventLoop = new EventLoopMonitor();
  readonly #source: MetricsOptions['source'];
  readonly #off: (() => void)[];
  readonly #codes = new Set<string>();
  /** The last that was heard of a job. */
  #job: Pick<JobEvent, 'name' | 'counts'> | undefined;
  readonly #finishedBytes = { upload: 0, download: 0 };
  readonly #countedBytes = { upload: 0, download: 0 };

  constructor(options: MetricsOptions) {
    this.#source = options.source;
    for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
      const { type, help, labels = [], buckets = [] } = definition;
      const base = { name, help, labelNames: [...labels], registers: [this.#registry] };
      if (type === 'counter') this.#counters.set(name, new Counter(base));
      else if (type === 'gauge') this.#gauges.set(name, new Gauge(base));
      else this.#histograms.set(name, new Histogram({ ...base, buckets: [...buckets] }));
    }
    if (options.processMetrics ?? true) collectDefaultMetrics({ register: this.#registry });
    this.#set('lhsm_azblob_build_info', { version: options.version, node: process.version }, 1);
    this.#set('lhsm_azblob_registered', {}, 0);
    this.#off = this.#listen(options.events);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  eventLoop(): EventLoopMonitor {
    return this.#eventLoop;
  }

  names(): string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name);
  }

  async render(): Promise<string> {
    const source = this.#source();
    if (source) this.#readSource(source);
    const { meanMs, p99Ms, maxMs } = this.#eventLoop.lag();
    this.#set('lhsm_azblob_event_loop_lag_seconds', { stat: 'mean' }, meanMs / 1000);
    this.#set('lhsm_azblob_event_loop_lag_seconds', { stat: 'p99' }, p99Ms / 1000);
    this.#set('lhsm_azblob_event_loop_lag_seconds', { stat: 'max' }, maxMs / 1000);
    return this.#registry.metrics();
  }

  close(): void {
    for (const off of this.#off) off();
    this.#eventLoop.close();
    this.#registry.clear();
  }

  #count(name: MetricName, labels: Labels, by = 1): void {
    this.#counters.get(name)?.inc(labels, by);
  }

  #set(name: MetricName, labels: Labels, value: number): void {
    this.#gauges.get(name)?.set(labels, value);
  }

  #observe(name: MetricName, labels: Labels, ms: number): void {
    this.#histograms.get(name)?.observe(labels, Math.max(0, ms) / 1000);
  }

  /** The code as a label's value: one of a bounded set. */
  #code(code: string): string {
    if (!/^[A-Z][A-Z0-9_]{1,40}$/.test(code)) return 'OTHER';
    if (!this.#codes.has(code)) {
      if (this.#codes.size >= MAX_CODES) return 'OTHER';
      this.#codes.add(code);
    }
    return code;
  }

  #listen(events: AgentEmitter): (() => void)[] {
    return [
      events.on('received', ({ kind, archiveId, count, blocking }) => {
        const labels = { kind, archive_id: archiveId, blocking: String(blocking) };
        this.#count('lhsm_azblob_received_actions_total', labels, count);
      }),
      events.on('malformed', () => {
        this.#count('lhsm_azblob_malformed_buffers_total', {});
      }),
      events.on('begun', ({ lane, queuedMs }) => {
        this.#observe('lhsm_azblob_action_queue_seconds', { lane }, queuedMs);
      }),
      events.on('finished', (event) => {
        const { kind, archiveId, result, errno } = event;
        this.#count('lhsm_azblob_actions_total', {
          kind,
          archive_id: archiveId,
          result,
          errno: errno === 0 ? 'none' : errnoName(errno),
        });
        if (result !== 'succeeded') {
          this.#count('lhsm_azblob_action_errors_total', { kind, code: this.#code(event.code ?? 'OTHER') });
        }
        this.#observe('lhsm_azblob_action_duration_seconds', { kind, result }, event.durationMs);
        if (event.firstByteMs !== undefined) {
          this.#observe('lhsm_azblob_action_first_byte_seconds', { kind }, event.firstByteMs);
        }
        if (event.retries > 0) this.#count('lhsm_azblob_request_retries_total', { kind }, event.retries);
        if (event.throttles > 0)
          this.#count('lhsm_azblob_request_throttles_total', { kind }, event.throttles);
        const direction = directions[kind];
        if (direction !== undefined) this.#finishedBytes[direction] += event.bytes;
      }),
      events.on('containerRequest', ({ what }) => {
        const name = `lhsm_azblob_request_${what === 'retry' ? 'retries' : 'throttles'}_total` as const;
        this.#count(name, { kind: 'container' });
      }),
      events.on('heartbeat', ({ kind }) => {
        this.#count('lhsm_azblob_heartbeats_total', { kind });
      }),
      events.on('journal', ({ items, sizeBytes }) => {
        this.#set('lhsm_azblob_journal_items', {}, items);
        this.#set('lhsm_azblob_journal_size_bytes', {}, sizeBytes);
      }),
      events.on('recovered', ({ kind, outcome }) => {
        this.#count('lhsm_azblob_recovered_actions_total', { kind, outcome });
      }),
      events.on('registered', () => {
        this.#count('lhsm_azblob_registrations_total', {});
        this.#set('lhsm_azblob_registered', {}, 1);
      }),
      events.on('unregistered', ({ reason }) => {
        this.#count('lhsm_azblob_unregistrations_total', { reason });
        this.#set('lhsm_azblob_registered', {}, 0);
      }),
      events.on('probed', ({ archiveId, container, ready, code }) => {
        this.#set('lhsm_azblob_container_ready', { archive_id: archiveId, container }, ready ? 1 : 0);
        this.#count('lhsm_azblob_container_probes_total', {
          archive_id: archiveId,
          code: ready ? 'none' : this.#code(code ?? 'OTHER'),
        });
      }),
      events.on('job', (event) => {
        this.#countJob(event);
      }),
      events.on('reloaded', ({ ok }) => {
        this.#count('lhsm_azblob_reloads_total', { result: ok ? 'ok' : 'failed' });
      }),
    ];
  }

  #countJob({ kind, name, state, counts }: JobEvent): void {
    const before = this.#job?.name === name ? this.#job.counts : {};
    this.#job = { name, counts };
    for (const [count, value] of Object.entries(counts)) {
      // After a restart of the job from its checkpoint there may be less: a counter never goes back.
      const more = value - (before[count] ?? 0);
      if (more > 0) this.#count('lhsm_azblob_job_items_total', { kind, count }, more);
    }
    const isOver = isFinal(state);
    this.#set('lhsm_azblob_job_running', { kind }, isOver ? 0 : 1);
    if (isOver) this.#count('lhsm_azblob_jobs_total', { kind, state });
  }

  #readSource({ lanes, inFlight }: MetricsSource): void {
    const byLane = new Map(lanes.map((lane) => [lane.lane, lane]));
    for (const lane of LANES) {
      const now = byLane.get(lane);
      this.#set('lhsm_azblob_queued_actions', { lane }, now?.queued ?? 0);
      this.#set('lhsm_azblob_running_actions', { lane }, now?.running ?? 0);
      this.#set('lhsm_azblob_queue_oldest_seconds', { lane }, (now?.oldestQueuedMs ?? 0) / 1000);
    }
    for (const kind of ACTION_KINDS) {
      const some = inFlight.filter((action) => action.kind === kind);
      const oldestMs = some.reduce((most, { ageMs }) => Math.max(most, ageMs), 0);
      this.#set('lhsm_azblob_in_flight_actions', { kind }, some.length);
      this.#set('lhsm_azblob_in_flight_oldest_seconds', { kind }, oldestMs / 1000);
      const direction = directions[kind];
      if (direction === undefined) continue;
      // What is in flight counts already, so that a huge file shows as a rate and not as one jump at its end.
      const total = some.reduce((sum, { bytes }) => sum + bytes, this.#finishedBytes[direction]);
      const more = total - this.#countedBytes[direction];
      // A transfer that begins anew counts its bytes anew: a counter never goes back.
      if (more > 0) {
        this.#count('lhsm_azblob_transferred_bytes_total', { direction }, more);
        this.#countedBytes[direction] = total;
      }
    }
  }
}

/** Makes the metrics, which listen to `events` until they are closed. */
export function createMetrics(options: MetricsOptions): Metrics {
  return new PromMetrics(options);
}

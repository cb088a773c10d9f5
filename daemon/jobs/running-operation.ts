// One operation from its start to its end, and the document that tells of it. operations.ts has one for each.
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import type { RequestNotice } from './asked-file.js';
import { isOver, type OperationDocument, type OperationNotice, type OperationState } from './operation.js';
import type { OperationLog } from './operation-log.js';
import type { OperationRequest } from './operation-request.js';
import { failureOf, stopsOnly, type OperationWork, type WorkProgress } from './operation-work.js';
import { Rates } from './rates.js';

const MAX_NOTICES = 10;
const SAMPLE_MS = 1000;
const NOTHING: WorkProgress = { counts: {}, files: 0, bytes: 0 };

export class RunningOperation {
  readonly id: string;
  readonly request: OperationRequest;
  readonly log: OperationLog;
  readonly #mount: string;
  readonly #stop = new AbortController();
  readonly #startedAtMs = performance.now();
  readonly #startedTime = new Date().toISOString();
  readonly #rates = new Rates();
  readonly #notices: OperationNotice[] = [];
  #noticedAtMs = -Infinity;
  #pace = { files: 0, bytes: 0 };
  #progress = NOTHING;
  #state: OperationState = 'running';
  #message = 'Going on.';
  #failure: Partial<ReturnType<typeof failureOf>> = {};
  #endedTime: string | undefined;

  constructor(id: string, request: OperationRequest, mount: string, log: OperationLog) {
    this.id = id;
    this.request = request;
    this.#mount = mount;
    this.log = log;
  }

  get isOver(): boolean {
    return isOver(this.#state);
  }

  /** The last notice, when it speaks of now: those that last are told again every minute. */
  get trouble(): OperationNotice | undefined {
    if (this.isOver || performance.now() - this.#noticedAtMs > 150_000) return undefined;
    const last = this.#notices.at(-1);
    return last?.code === 'COORDINATOR_STOPPED' || last?.code === 'REQUESTS_WAIT' ? last : undefined;
  }

  get document(): OperationDocument {
    const { counts, etaSeconds } = this.#progress;
    this.log.flush();
    return {
      id: this.id,
      kind: this.request.kind,
      state: this.#state,
      message: this.#message,
      request: this.request,
      mount: this.#mount,
      startedTime: this.#startedTime,
      ...(this.#endedTime === undefined ? {} : { endedTime: this.#endedTime }),
      counts,
      rates: this.#pace,
      ...(etaSeconds === undefined || this.isOver ? {} : { etaSeconds }),
      ...this.#failure,
      notices: [...this.#notices],
      findingCount: this.log.count,
      findings: this.log.recent,
      logFile: this.log.path,
    };
  }

  /** Resolves when it has ended, however. */
  async run(work: OperationWork): Promise<void> {
    const { signal } = this.#stop;
    const timer = setInterval(() => {
      this.#sample();
    }, SAMPLE_MS).unref();
    this.#sample();
    try {
      const end = await work(
        this.request,
        {
          progress: (progress) => {
            this.#progress = progress;
          },
          finding: (finding) => {
            this.log.add({ time: new Date().toISOString(), ...finding });
          },
          notice: (notice) => {
            this.#notice(notice);
          },
        },
        signal,
      );
      this.#progress = end.progress;
      this.#end(
        end.state,
        stopsOnly(signal.reason) ? `The daemon stopped: ${end.message}.` : `${end.message}.`,
      );
    } catch (error) {
      if (signal.aborted) {
        const what = 'what was done until then stays.';
        this.#end('canceled', `${stopsOnly(signal.reason) ? 'The daemon stopped' : 'Canceled'}: ${what}`);
      } else {
        this.#failure = failureOf(error);
        this.#end('failed', describeError(error));
      }
    } finally {
      clearInterval(timer);
      this.log.close();
      if (this.log.failure) this.#notice({ code: 'OPERATION_LOG', message: describeError(this.log.failure) });
    }
  }

  /** Nothing happens to one that is over. */
  cancel(reason: LhsmError): void {
    if (this.isOver) return;
    this.#state = 'canceling';
    this.#message = 'Being canceled.';
    this.#stop.abort(reason);
  }

  #end(state: OperationState, message: string): void {
    this.#state = state;
    this.#message = message;
    this.#endedTime = new Date().toISOString();
    const seconds = Math.max(0.001, (performance.now() - this.#startedAtMs) / 1000);
    const { files, bytes } = this.#progress;
    // From now on, those of the whole.
    this.#pace = { files: Math.round((files / seconds) * 10) / 10, bytes: Math.round(bytes / seconds) };
  }

  #sample(): void {
    const { files = 0, bytes = 0 } = this.#rates.sample({
      files: this.#progress.files,
      bytes: this.#progress.bytes,
    });
    this.#pace = { files, bytes };
  }

  #notice(notice: RequestNotice): void {
    const last = this.#notices.at(-1);
    const again = last?.code === notice.code;
    if (again) this.#notices.pop();
    this.#noticedAtMs = performance.now();
    this.#notices.push({ ...notice, time: new Date().toISOString(), count: again ? last.count + 1 : 1 });
    if (this.#notices.length > MAX_NOTICES) this.#notices.shift();
  }
}

// An OperationsControl without operations, for the tests of control/ and cli/: it answers from a script and records what it
// was asked.
import type { OperationsControl } from '../../../daemon/control/operations-control.js';
import type { OperationDocument } from '../../../daemon/jobs/operation.js';
import { unknownOperation } from '../../../daemon/jobs/operation-log.js';
import type { OperationRequest } from '../../../daemon/jobs/operation-request.js';

/** An operation that has just begun. */
export function operationOf(
  request: OperationRequest,
  more: Partial<OperationDocument> = {},
): OperationDocument {
  return {
    id: `${request.kind}-1`,
    kind: request.kind,
    state: 'running',
    message: 'Going on.',
    request,
    mount: '/mnt/lustre',
    startedTime: '2026-11-27T22:15:00.000Z',
    counts: {},
    rates: { files: 0, bytes: 0 },
    notices: [],
    findingCount: 0,
    findings: [],
    logFile: `/var/lib/x/operations/${request.kind}-1.jsonl`,
    ...more,
  };
}

export class FakeOperations implements OperationsControl {
  folder = '/var/lib/none';
  readonly asked: unknown[] = [];
  failure: Error | undefined;
  /** What `show` comes to, one after the other; the last one stays. */
  looks: OperationDocument[] = [];
  known: OperationDocument[] = [];
  /** What cancel makes of what is looked at from then on. */
  onCancel: (() => void) | undefined;
  lines: object[] = [];

  get list(): readonly OperationDocument[] {
    return this.known;
  }

  start(request: OperationRequest): Promise<OperationDocument> {
    this.asked.push(request);
    return this.failure ? Promise.reject(this.failure) : Promise.resolve(operationOf(request));
  }

  show(id: string): OperationDocument {
    const [look] = this.looks.length > 1 ? this.looks.splice(0, 1) : this.looks;
    if (!look) throw unknownOperation(id);
    return look;
  }

  cancel(id: string): OperationDocument {
    this.asked.push({ cancel: id });
    this.onCancel?.();
    return this.show(id);
  }

  async *log(id: string): AsyncGenerator<Uint8Array> {
    this.asked.push({ log: id });
    await Promise.resolve();
    for (const line of this.lines) yield Buffer.from(`${JSON.stringify(line)}\n`);
  }
}

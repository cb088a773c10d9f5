// Waits for an operation's end, shows how it goes on, and prints what it found: `operations watch` and the commands that wait.
import { isOver, type OperationDocument, type OperationState } from '../jobs/operation.js';
import { ask } from './client.js';
import { CommandEnd, ExitCode, type Io } from './io.js';
import { findingsOf } from './operation-log.js';
import { operationLine, renderFinding, renderOperation } from './operation-text.js';
import { ProgressLine } from './progress-line.js';

const LOOK_MS = 1_000;
/** How soon an end may come: small trees are done at once. */
const FIRST_LOOK_MS = 100;
/** How long the end of a canceled one is waited for. */
const CANCEL_MS = 20_000;

const exitCodes: Readonly<Record<OperationState, number>> = {
  running: ExitCode.OK,
  canceling: ExitCode.OK,
  complete: ExitCode.OK,
  partial: ExitCode.PARTIAL,
  failed: ExitCode.JOB_FAILED,
  canceled: ExitCode.CANCELED,
};

export interface FollowOptions {
  /** `each`: a line of JSON whenever something is new. `last`: the end's document alone. */
  readonly style: 'progress' | 'each' | 'last';
  /** What Ctrl-C does. */
  readonly onInterrupt: 'cancel' | 'leave';
}

const url = (id: string): string => `/v1/operations/${id}`;

async function look(socket: string, id: string, signal: AbortSignal): Promise<OperationDocument> {
  return JSON.parse(await ask(socket, 'GET', url(id), { signal })) as OperationDocument;
}

/**
 * Resolves when it is complete. Throws CommandEnd with the exit code of another end; LhsmError when the daemon goes away, and the
 * operation with it.
 */
export async function followOperation(
  socket: string,
  id: string,
  { style, onInterrupt }: FollowOptions,
  io: Io,
): Promise<void> {
  const progress = new ProgressLine(io);
  let last = '';
  const show = (operation: OperationDocument): void => {
    if (style === 'progress') progress.show(`${id}  ${operationLine(operation)}`, operation.state);
    const text = style === 'each' ? JSON.stringify(operation) : '';
    if (text !== last) io.out(`${text}\n`);
    last = text;
  };
  let operation: OperationDocument;
  try {
    operation = await untilOver(socket, id, io, show);
  } catch (error) {
    if (style === 'progress') progress.clear();
    if (!io.signal.aborted) throw error;
    operation = await interrupted(socket, id, onInterrupt, io);
  }
  if (style === 'progress') {
    progress.clear();
    await tell(socket, operation, io);
  } else io.out(`${JSON.stringify(operation, null, style === 'last' ? 2 : 0)}\n`);
  const exitCode = exitCodes[operation.state];
  if (exitCode !== ExitCode.OK) throw new CommandEnd(exitCode);
}

async function untilOver(
  socket: string,
  id: string,
  { clock, signal }: Io,
  show: (operation: OperationDocument) => void,
): Promise<OperationDocument> {
  for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = LOOK_MS) {
    const operation = await look(socket, id, signal);
    if (isOver(operation.state)) return operation;
    show(operation);
    await clock.sleep(pauseMs, signal);
  }
}

/** Ctrl-C: the operation as it ended by it. Throws CommandEnd where it goes on. */
async function interrupted(
  socket: string,
  id: string,
  onInterrupt: FollowOptions['onInterrupt'],
  { clock, err }: Io,
): Promise<OperationDocument> {
  if (onInterrupt === 'leave') {
    err(
      `${id} goes on. Watch it: lhsm-azblob operations watch ${id}; end it: lhsm-azblob operations cancel ${id}\n`,
    );
    throw new CommandEnd(ExitCode.INTERRUPTED);
  }
  const { signal } = new AbortController();
  await ask(socket, 'POST', `${url(id)}/cancel`, { signal });
  for (const sinceMs = clock.now(); ;) {
    const operation = await look(socket, id, signal);
    if (isOver(operation.state) || clock.now() - sinceMs > CANCEL_MS) return operation;
    await clock.sleep(FIRST_LOOK_MS, signal);
  }
}

/** The findings, all of them, and the end. */
async function tell(socket: string, operation: OperationDocument, io: Io): Promise<void> {
  const isDryRun = operation.request.kind === 'release' && operation.request.dryRun;
  if (operation.findingCount > 0 || isDryRun) {
    const { signal } = io.signal.aborted ? new AbortController() : io;
    for await (const finding of findingsOf(socket, operation.id, signal)) {
      // No faster than it is read: `| less`.
      await io.raw(Buffer.from(renderFinding(finding)));
    }
    io.out('\n');
  }
  io.out(renderOperation(operation, io.clock.now()));
}

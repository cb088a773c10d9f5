// Operations for people: in full, as one line that shows how it goes on, and their findings. The commands of operations call it.
import { isOver, type OperationDocument, type OperationFinding } from '../jobs/operation.js';
import { formatBytes, formatDuration, printable, table } from './format.js';

const number = (value: number): string => Math.round(value).toLocaleString('en-US');

const amount = (key: string, value: number): string =>
  key.toLowerCase().includes('bytes') ? formatBytes(value) : number(value);

/** `doneBytes` → `done bytes` */
function label(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** What a line says of each kind: words, and the counts behind them. */
const lineCounts: Readonly<Record<OperationDocument['kind'], readonly (readonly [string, string])[]>> = {
  restore: [
    ['restored', 'done'],
    ['of', 'discovered'],
    ['failed', 'failed'],
    ['at the coordinator', 'outstanding'],
  ],
  release: [
    ['files', 'files'],
    ['released', 'released'],
    ['refused', 'refused'],
  ],
  verify: [
    ['files', 'files'],
    ['compared', 'checked'],
    ['errors', 'errors'],
  ],
};

/** How it goes on, in one line. */
export function operationLine({
  kind,
  state,
  counts,
  rates,
  etaSeconds,
  notices,
}: OperationDocument): string {
  const eta = etaSeconds === undefined ? [] : [`ETA ${formatDuration(etaSeconds * 1000)}`];
  const bytes = rates.bytes > 0 ? [`${formatBytes(rates.bytes)}/s`] : [];
  const last = notices.at(-1);
  const waits = last?.code === 'COORDINATOR_STOPPED' || last?.code === 'REQUESTS_WAIT' ? [last.message] : [];
  return [
    state,
    ...lineCounts[kind].map(([word, key]) => `${word} ${number(counts[key] ?? 0)}`),
    `${number(rates.files)} files/s`,
    ...bytes,
    ...eta,
    ...waits,
  ].join('  ');
}

function wishOf({ request }: OperationDocument): string {
  const paths = 'paths' in request && request.paths.length > 0 ? request.paths.join(' ') : 'a list of files';
  const options = Object.entries(request)
    .filter(([key, value]) => !['kind', 'paths', 'filesFrom'].includes(key) && value !== false)
    .map(([key, value]) => (value === true ? label(key) : `${label(key)} ${amount(key, Number(value))}`));
  return [paths, ...options].join(', ');
}

/** Everything about an operation but its findings. */
export function renderOperation(operation: OperationDocument, nowMs: number): string {
  const { id, state, message, startedTime, endedTime, counts, notices, findingCount, logFile } = operation;
  const endMs = endedTime === undefined ? nowMs : Date.parse(endedTime);
  const took = formatDuration(Math.max(0, endMs - Date.parse(startedTime)));
  const { errorCode, errorMessage, hint } = operation;
  const lines = [
    `${id}: ${state}`,
    ...(errorCode === undefined ? [message] : [`${errorCode}: ${errorMessage ?? ''}`, hint ?? '']),
    wishOf(operation),
    `started ${startedTime}${endedTime === undefined ? `, for ${took}` : `, took ${took}`}`,
    ...(isOver(state) ? [] : [operationLine(operation)]),
    ...notices.map(({ time, code, message: text, hint: mend }) => `${time} ${code}: ${text} ${mend ?? ''}`),
    ...(findingCount === 0 ? [] : [`${number(findingCount)} findings, all of them in ${logFile}`]),
  ];
  const text = lines
    .filter((line) => line !== '')
    .map((line) => `${printable(line.trimEnd())}\n`)
    .join('');
  const rows = Object.entries(counts).map(([key, value]) => [label(key), amount(key, value)]);
  return rows.length === 0 ? text : `${text}\n${table(['what', 'count'], rows)}`;
}

/** One finding, a line. */
export function renderFinding({ severity, code, path, message, hint, repaired }: OperationFinding): string {
  const where = path === undefined ? '' : ` ${path}`;
  const done = repaired === undefined ? '' : ` (${repaired})`;
  const mend = hint === undefined ? '' : ` ${hint}`;
  return `${printable(`${severity.toUpperCase()} ${code}${where}: ${message}${done}${mend}`)}\n`;
}

/** Several, a line each. */
export function renderOperations(operations: readonly OperationDocument[]): string {
  if (operations.length === 0) return 'There are no operations.\n';
  return table(
    ['id', 'state', 'started', 'files', 'findings', 'what'],
    operations.map((operation) => {
      const { id, kind, state, startedTime, counts, findingCount, message } = operation;
      const files = counts[kind === 'restore' ? 'done' : 'files'] ?? 0;
      return [id, state, startedTime, files, findingCount, isOver(state) ? message : wishOf(operation)];
    }),
  );
}

// Reads the JSON lines of an operation's log from the admin API: the commands that print findings call it.
import type { OperationFinding } from '../jobs/operation.js';
import { askStream } from './client.js';

/** Each finding, read no faster than it is taken. Throws LhsmError OPERATION_UNKNOWN, NO_DAEMON. */
export async function* findingsOf(
  socket: string,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<OperationFinding> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of askStream(socket, `/v1/operations/${id}/log`, { signal })) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as OperationFinding;
  }
}

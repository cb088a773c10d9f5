// What `restore`, `release` and `verify` share: paths, the request, and waiting for the end.
import path from 'node:path';
import type { Command } from 'commander';
import type { OperationDocument, OperationKind } from '../jobs/operation.js';
import { ask, findDaemon } from './client.js';
import { followOperation } from './follow-operation.js';
import type { Io } from './io.js';
import { daemonOptions } from './options.js';

export interface StartOptions {
  readonly wait?: boolean;
  readonly json?: boolean;
}

/** As the shell's user means it. Not normalised: `link/..` is for the daemon to follow. */
export function absolutePath(given: string, io: Io): string {
  return path.isAbsolute(given) || given === '' ? given : path.posix.join(io.cwd(), '/').concat(given);
}

/** Starts an operation, and waits for it if asked to. `own` are the keys of the request that its kind has. */
export async function startOperation(
  kind: OperationKind,
  own: object,
  { wait, json }: StartOptions,
  command: Command,
  io: Io,
): Promise<void> {
  const socket = await findDaemon(daemonOptions(command), io.env);
  const body = { kind, ...own };
  const text = await ask(socket, 'POST', '/v1/operations', { body, signal: io.signal });
  const operation = JSON.parse(text) as OperationDocument;
  const { id } = operation;
  if (wait === true) {
    const style = json === true ? 'last' : 'progress';
    const onInterrupt = kind === 'restore' ? 'leave' : 'cancel';
    await followOperation(socket, id, { style, onInterrupt }, io);
  } else if (json === true) io.out(`${JSON.stringify(operation, null, 2)}\n`);
  else io.out(`${id} has begun.\nWatch it: lhsm-azblob operations watch ${id}\n`);
}

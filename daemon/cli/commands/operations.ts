// `lhsm-azblob operations …`: what to do with batch restores, releases and verifications that have been started.
import type { Command } from 'commander';
import { isOver, type OperationDocument } from '../../jobs/operation.js';
import { ask, askStream, findDaemon } from '../client.js';
import { followOperation } from '../follow-operation.js';
import type { Io } from '../io.js';
import { renderFinding, renderOperation, renderOperations } from '../operation-text.js';
import { daemonOptions } from '../options.js';

interface JsonOption {
  readonly json?: boolean;
}

const url = (id: string): string => `/v1/operations/${encodeURIComponent(id)}`;
const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

function addList(group: Command, io: Io): void {
  group
    .command('list')
    .description('list those that run and the last that ran, the newest first')
    .option('--json', 'print JSON')
    .action(async ({ json }: JsonOption, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const text = await ask(socket, 'GET', '/v1/operations', { signal: io.signal });
      const answer = JSON.parse(text) as { readonly operations: readonly OperationDocument[] };
      io.out(json === true ? asJson(answer) : renderOperations(answer.operations));
    });
}

function addShow(group: Command, io: Io): void {
  group
    .command('show')
    .description('show one: state, counts, rates, the last findings')
    .argument('<id>')
    .option('--json', 'print its document as JSON')
    .action(async (id: string, { json }: JsonOption, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const text = await ask(socket, 'GET', url(id), { signal: io.signal });
      const operation = JSON.parse(text) as OperationDocument;
      if (json === true) io.out(asJson(operation));
      else {
        io.out(renderOperation(operation, io.clock.now()));
        if (operation.findings.length > 0) io.out('\nThe last findings\n');
        for (const finding of operation.findings) io.out(renderFinding(finding));
      }
    });
}

function addWatch(group: Command, io: Io): void {
  group
    .command('watch')
    .description('show how one goes on until it has ended; the exit status says how')
    .argument('<id>')
    .option('--json', 'print its document as a line of JSON whenever something is new')
    .action(async (id: string, { json }: JsonOption, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const style = json === true ? 'each' : 'progress';
      await followOperation(socket, encodeURIComponent(id), { style, onInterrupt: 'leave' }, io);
    });
}

function addCancel(group: Command, io: Io): void {
  group
    .command('cancel')
    .description('cancel one; what it has done stays')
    .argument('<id>')
    .option('--wait', 'end with it; the exit status says how it ended, 5 when canceled')
    .option('--json', 'print its document as JSON; with --wait that of its end')
    .action(async (id: string, options: JsonOption & { readonly wait?: boolean }, command: Command) => {
      const { wait, json } = options;
      const socket = await findDaemon(daemonOptions(command), io.env);
      const text = await ask(socket, 'POST', `${url(id)}/cancel`, { signal: io.signal });
      const operation = JSON.parse(text) as OperationDocument;
      if (json !== true) {
        io.out(
          isOver(operation.state) ? `${id} is over: ${operation.state}.\n` : `${id} is being canceled.\n`,
        );
      }
      const style = json === true ? 'last' : 'progress';
      if (wait === true) await followOperation(socket, id, { style, onInterrupt: 'leave' }, io);
      else if (json === true) io.out(asJson(operation));
    });
}

function addLog(group: Command, io: Io): void {
  group
    .command('log')
    .description('print everything that one has found, as JSON lines')
    .argument('<id>')
    .option('--json', 'the same')
    .action(async (id: string, _options: JsonOption, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      for await (const bytes of askStream(socket, `${url(id)}/log`, { signal: io.signal }))
        await io.raw(bytes);
    });
}

export function addOperations(program: Command, io: Io): void {
  const group = program
    .command('operations')
    .description('list, show, watch and cancel batch restores, releases and verifications of this daemon');
  addList(group, io);
  addShow(group, io);
  addWatch(group, io);
  addCancel(group, io);
  addLog(group, io);
}

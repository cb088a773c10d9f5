// The command line's side of the admin API: finds the daemon's socket and asks it.
import { request, type IncomingMessage } from 'node:http';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { defaults } from '../config/defaults.js';
import { ADMIN_SOCKET, adminSocket } from '../config/mount-name.js';
import type { ErrorBody } from '../control/http-server.js';

/** How the operator names the daemon; all left out: the only one that runs. */
export interface DaemonOptions {
  readonly socket?: string;
  readonly mount?: string;
  readonly runDir?: string;
}

const TIMEOUT_MS = 60_000;

const noDaemon = (message: string, hint: string, cause?: unknown): LhsmError =>
  new LhsmError(message, { code: 'NO_DAEMON', op: 'connect', errno: 111, hint, cause });

export interface AskOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** How long the daemon may be silent; 0 for any time. */
  readonly timeoutMs?: number;
}

/** The answer once its headers are there, whatever its status. */
function open(
  socket: string,
  method: 'GET' | 'POST',
  url: string,
  { body, signal, timeoutMs = TIMEOUT_MS }: AskOptions,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath: socket,
        method,
        path: url,
        agent: false,
        timeout: timeoutMs,
        headers: { host: 'lhsm-azblob' },
        ...(signal && { signal }),
      },
      resolve,
    );
    sent.on('timeout', () => {
      sent.destroy(
        noDaemon(`the daemon behind ${socket} does not answer`, 'See its log; is the mount stuck?'),
      );
    });
    sent.on('error', (error) => {
      reject(connectError(socket, error));
    });
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function textOf(socket: string, response: IncomingMessage): Promise<string> {
  try {
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response as AsyncIterable<string>) text += chunk;
    return text;
  } catch (error) {
    throw connectError(socket, error);
  }
}

/** Asks the daemon behind `socket`. Throws LhsmError: the daemon's own, NO_DAEMON or EACCES. */
export async function ask(
  socket: string,
  method: 'GET' | 'POST',
  url: string,
  options: AskOptions = {},
): Promise<string> {
  const response = await open(socket, method, url, options);
  const text = await textOf(socket, response);
  if (response.statusCode === 200) return text;
  throw answeredError(text);
}

/** The same for an answer of any length, read no faster than it is taken. Throws while it is read, too. */
export async function* askStream(
  socket: string,
  url: string,
  options: AskOptions = {},
): AsyncGenerator<Uint8Array> {
  const response = await open(socket, 'GET', url, options);
  if (response.statusCode !== 200) throw answeredError(await textOf(socket, response));
  // From here on it is the reader who decides how fast it goes: `jobs log | less`.
  response.setTimeout(0);
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (error) {
    throw connectError(socket, error);
  }
}

function answeredError(text: string): LhsmError {
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    return new LhsmError(error.message, {
      code: error.code,
      op: 'admin API',
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  } catch {
    return new LhsmError('the daemon gave an answer that makes no sense', {
      code: 'EPROTO',
      op: 'admin API',
    });
  }
}

function connectError(socket: string, error: unknown): Error {
  if (hasCode(error, 'ENOENT') || hasCode(error, 'ECONNREFUSED')) {
    return noDaemon(
      `no daemon answers on ${socket}`,
      'Start it: systemctl start lhsm-azblobd@$(systemd-escape --path MOUNT), or see why it ended: journalctl -u "lhsm-azblobd@*".',
      error,
    );
  }
  if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM')) {
    return new LhsmError(`${socket} may not be opened`, {
      code: 'EACCES',
      op: 'connect',
      hint: 'Run the command as root.',
      cause: error,
    });
  }
  if (hasCode(error, 'ECONNRESET') || hasCode(error, 'EPIPE')) {
    return noDaemon(
      `the daemon behind ${socket} broke off its answer`,
      'Its log says why: journalctl -u "lhsm-azblobd@*".',
      error,
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** The sockets of all mounts below `runDir`. */
async function sockets(runDir: string): Promise<string[]> {
  const folders = await readdir(runDir, { withFileTypes: true });
  const found = await Promise.all(
    folders
      .filter((entry) => entry.isDirectory())
      .map(async ({ name }) => {
        const names = await readdir(path.join(runDir, name));
        return names.includes(ADMIN_SOCKET) ? [path.join(runDir, name, ADMIN_SOCKET)] : [];
      }),
  );
  return found.flat().sort();
}

/** The mount that the daemon behind a socket serves; undefined when nobody answers. */
async function mountOf(socket: string): Promise<string | undefined> {
  try {
    return (JSON.parse(await ask(socket, 'GET', '/v1/status?agents=no')) as { mount: string }).mount;
  } catch (error) {
    if (hasCode(error, 'NO_DAEMON')) return undefined;
    throw error;
  }
}

/** The socket that the options mean. Throws LhsmError code NO_DAEMON, USAGE or EACCES. */
export async function findDaemon(
  options: DaemonOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  if (options.socket !== undefined) return options.socket;
  const runDir = options.runDir ?? env['LHSM_AZBLOB_RUN_DIR'] ?? defaults.run_dir;
  if (options.mount !== undefined) return adminSocket(runDir, options.mount);
  const fromEnv = env['LHSM_AZBLOB_SOCKET'];
  if (fromEnv !== undefined) return fromEnv;
  let candidates: string[];
  try {
    candidates = await sockets(runDir);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw connectError(runDir, error);
    candidates = [];
  }
  const running: { socket: string; mount: string }[] = [];
  for (const socket of candidates) {
    const mount = await mountOf(socket);
    if (mount !== undefined) running.push({ socket, mount });
  }
  const [only, ...more] = running;
  if (only === undefined) {
    throw noDaemon(
      `no daemon runs on this machine (none answers below ${runDir})`,
      'Start it: systemctl start lhsm-azblobd@$(systemd-escape --path MOUNT). If its run_dir is another, name it with --run-dir.',
    );
  }
  if (more.length > 0) {
    throw new LhsmError('several daemons run on this machine', {
      code: 'USAGE',
      op: 'find daemon',
      errno: 22,
      hint: `Name one: ${running.map(({ mount }) => `--mount ${mount}`).join(', ')}.`,
    });
  }
  return only.socket;
}

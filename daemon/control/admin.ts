// The admin API: JSON over HTTP over a unix socket that only root may open. agent.ts starts it; the command
// line and scripts (`curl --unix-socket`) use it.
import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { describeError, errnoFor, hasCode, LhsmError } from '../../native-bindings/errors.js';
import { LOG_LEVELS } from '../config/schema.js';
import { nearest } from '../config/nearest.js';
import type { Metrics } from '../metrics.js';
import type { AgentControl, FullStatus } from './agent-control.js';
import { jobRoutes } from './admin-jobs.js';
import { operationRoutes } from './admin-operations.js';
import { BadRequest, json, startServer, type Routes, type RunningServer } from './http-server.js';

export interface AdminOptions {
  /** adminSocket() of config/mount-name.ts. */
  readonly socket: string;
  readonly control: AgentControl;
  readonly metrics: Metrics;
  /** Hears why an answer was cut off: the client cannot be told. */
  readonly onBroken?: (error: unknown) => void;
}

/** sun_path of sockaddr_un holds 108 bytes, the final NUL included (unix(7)). */
const MAX_PATH_BYTES = 107;

const PROBE_TIMEOUT_MS = 2_000;

const AGENTS_TIMEOUT_MS = 3_000;

function levelOf(body: unknown): string {
  const level = typeof body === 'object' && body !== null && 'level' in body ? body.level : undefined;
  if (typeof level !== 'string') throw new BadRequest('the body must be {"level": "…"}');
  if ((LOG_LEVELS as readonly string[]).includes(level)) return level;
  const near = nearest(level, LOG_LEVELS);
  throw new BadRequest(
    `there is no such log level; there are ${LOG_LEVELS.join(', ')}`,
    near === undefined ? undefined : `Did you mean ${near}?`,
  );
}

/** The agents of other nodes within seconds: the status must not hang with the logging container. `?agents=no` does without. */
async function fullStatus(
  control: AgentControl,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<FullStatus> {
  const status = control.status();
  if (query.get('agents') === 'no') return { ...status, agents: [] };
  try {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(AGENTS_TIMEOUT_MS)]);
    return { ...status, agents: await control.agents(patience) };
  } catch (error) {
    return { ...status, agents: [], agentsProblem: describeError(error) };
  }
}

function directoryOf(body: unknown): string | undefined {
  if (body === undefined) return undefined;
  const directory =
    typeof body === 'object' && body !== null && 'directory' in body ? body.directory : undefined;
  if (typeof directory === 'string' && directory !== '' && !directory.includes('\0')) return directory;
  throw new BadRequest('the body must be {"directory": "…"}, or none for the root of the mount');
}

function routes({ control, metrics }: AdminOptions): Routes {
  return {
    'GET /v1/status': async ({ query }, signal) => json(200, await fullStatus(control, query, signal)),
    'GET /v1/config': () => json(200, control.config()),
    'GET /v1/log-level': () => json(200, { level: control.logLevel() }),
    'GET /v1/metrics': async () => ({
      status: 200,
      contentType: metrics.contentType,
      body: await metrics.render(),
    }),
    'POST /v1/reregister': async (_asked, signal) => json(200, await control.reregister(signal)),
    'POST /v1/reload': async (_asked, signal) => json(200, await control.reload(signal)),
    'POST /v1/log-level': ({ body }) => {
      control.setLogLevel(levelOf(body));
      return json(200, { level: control.logLevel() });
    },
    'GET /v1/doctor': async (_asked, signal) => json(200, await control.doctor.examine(signal)),
    'POST /v1/doctor/probe': async ({ body }, signal) =>
      json(200, await control.doctor.probe(directoryOf(body), signal)),
    ...jobRoutes(control),
    ...operationRoutes(control),
  };
}

/** Whether somebody answers on the socket. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    const done = (alive: boolean) => (): void => {
      connection.destroy();
      resolve(alive);
    };
    connection.once('connect', done(true));
    connection.once('error', done(false));
    // Somebody too busy to accept is somebody.
    connection.setTimeout(PROBE_TIMEOUT_MS, done(true));
  });
}

/** Removes what a dead daemon left. */
async function clearStale(socket: string): Promise<void> {
  const found = await lstat(socket).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (!found) return;
  const problem = !found.isSocket()
    ? 'is something else than a socket'
    : (await answers(socket))
      ? 'is in use by another daemon'
      : undefined;
  if (problem !== undefined) {
    throw new LhsmError(`${socket} ${problem}`, {
      code: 'ADMIN_SOCKET',
      op: 'listen',
      errno: 98, // EADDRINUSE
      hint: 'Stop the other daemon, or give this one another run_dir.',
    });
  }
  await unlink(socket);
}

/** Starts the admin API. Throws LhsmError code ADMIN_SOCKET. */
export async function startAdmin(options: AdminOptions): Promise<RunningServer> {
  const { socket } = options;
  const dir = path.dirname(socket);
  if (Buffer.byteLength(socket) > MAX_PATH_BYTES) {
    throw new LhsmError(`the path of the admin socket is longer than ${MAX_PATH_BYTES} bytes: ${socket}`, {
      code: 'ADMIN_SOCKET',
      op: 'listen',
      errno: 36, // ENAMETOOLONG
      hint: 'Choose a shorter run_dir.',
    });
  }
  try {
    await mkdir(path.dirname(dir), { recursive: true, mode: 0o755 });
    // Closed before the socket is made: nobody else can reach it between bind and chmod.
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
    await clearStale(socket);
    const server = await startServer(routes(options), { path: socket }, options.onBroken);
    await chmod(socket, 0o600);
    return server;
  } catch (error) {
    if (error instanceof LhsmError) throw error;
    throw new LhsmError(`the admin socket ${socket} cannot be made`, {
      code: 'ADMIN_SOCKET',
      op: 'listen',
      errno: errnoFor(error),
      hint: 'Check that run_dir is on a local file system and writable.',
      cause: error,
    });
  }
}

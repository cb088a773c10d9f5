// Metrics and health over TCP: what Prometheus, load balancers and orchestrators ask. agent.ts starts it on
// http.listen. Read-only, and nothing secret: it knows no authentication.
import { errnoFor, LhsmError } from '../../native-bindings/errors.js';
import type { Metrics } from '../metrics.js';
import type { AgentControl } from './agent-control.js';
import { json, startServer, type Routes, type RunningServer } from './http-server.js';

export interface HttpOptions {
  /** `host:port`; port 0 takes any. */
  readonly listen: string;
  readonly control: AgentControl;
  readonly metrics: Metrics;
}

/** An event loop that is late by that much on average does its job no more. */
const STUCK_MS = 5_000;

/** Why the agent is not ready, in words; empty when it is. */
export function notReadyReasons(control: AgentControl): string[] {
  const { state, registered, archives } = control.status();
  return [
    ...(state === 'running' ? [] : [`the daemon is ${state}`]),
    ...(registered ? [] : ['not registered with the coordinator']),
    ...archives
      .filter(({ ready }) => !ready)
      .map(({ id, container, problem }) => `archive ${id} (${container}): ${problem ?? 'not probed yet'}`),
  ];
}

function routes({ control, metrics }: HttpOptions): Routes {
  return {
    'GET /metrics': async () => ({
      status: 200,
      contentType: metrics.contentType,
      body: await metrics.render(),
    }),
    'GET /healthz': () => {
      const { meanMs, maxMs } = metrics.eventLoop().lag();
      const healthy = meanMs < STUCK_MS;
      return json(healthy ? 200 : 503, { healthy, eventLoopLagMs: { mean: meanMs, max: maxMs } });
    },
    'GET /readyz': () => {
      const reasons = notReadyReasons(control);
      return json(reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons });
    },
  };
}

/** Splits `host:port` or `[v6]:port`; the configuration has checked its form. */
function splitAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replaceAll(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) };
}

/** Starts the server. Throws LhsmError code HTTP_LISTEN when the address cannot be had. */
export async function startHttp(options: HttpOptions): Promise<RunningServer> {
  try {
    return await startServer(routes(options), splitAddress(options.listen));
  } catch (error) {
    throw new LhsmError(`cannot listen on ${options.listen} (http.listen)`, {
      code: 'HTTP_LISTEN',
      op: 'listen',
      errno: errnoFor(error),
      hint: 'Each daemon on a node needs its own port: choose another, or "off".',
      cause: error,
    });
  }
}

// How far our clock is from that of a container's service: signatures with an account key, and SAS, hold for minutes around it.
// agent-doctor.ts calls it.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { formatSkew } from './time-text.js';
import type { DoctorFinding } from './doctor-report.js';

const WARN_MS = 60_000;
/** Beyond it the service refuses a signature (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key: 15 minutes); SAS may begin or end by then. */
const ERROR_MS = 300_000;

/**
 * Our clock less the service's, by the Date header of any answer, which needs no credential: one that was refused for its time has
 * it as well. undefined when the answer has none.
 */
export function clockSkewMs(
  url: string,
  ca: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { origin, protocol } = new URL(url);
  const startedAtMs = Date.now();
  return new Promise((resolve, reject) => {
    const options = { method: 'HEAD', agent: false, signal } as const;
    const sent =
      protocol === 'https:'
        ? httpsRequest(`${origin}/`, { ...options, ...(ca === undefined ? {} : { ca: [...ca] }) })
        : httpRequest(`${origin}/`, options);
    sent.on('response', (answer) => {
      answer.resume();
      const theirs = Date.parse(answer.headers.date ?? '');
      // It has whole seconds, cut; it was made somewhere between asking and now.
      const ours = (startedAtMs + Date.now()) / 2 - 500;
      resolve(Number.isNaN(theirs) ? undefined : Math.round(ours - theirs));
    });
    sent.on('error', reject);
    sent.end();
  });
}

export function skewFindings(container: string, skewMs: number | undefined): DoctorFinding[] {
  if (skewMs === undefined || Math.abs(skewMs) < WARN_MS) return [];
  return [
    {
      severity: Math.abs(skewMs) < ERROR_MS ? 'warning' : 'error',
      code: 'CLOCK_SKEW',
      what: `the clock of this node is ${formatSkew(skewMs)} that of container ${container}`,
      hint: 'Account keys and SAS are refused when it is off by minutes. Set it: chronyc makestep, or timedatectl set-ntp true.',
    },
  ];
}

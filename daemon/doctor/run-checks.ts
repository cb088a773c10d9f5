// Runs the checks of a doctor side by side, each for seconds at most. agent-doctor.ts calls it.
import { foundError, type DoctorFinding } from './doctor-report.js';

export interface DoctorCheck {
  /** What it looks at, for people. */
  readonly name: string;
  /** May look away when the signal aborts, and need not. */
  readonly run: (signal: AbortSignal) => Promise<readonly DoctorFinding[]>;
}

const PATIENCE_MS = 8_000;

/** All findings, errors first. Never rejects: what goes wrong in a check is a finding as well. */
export async function runChecks(
  checks: readonly DoctorCheck[],
  signal: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<DoctorFinding[]> {
  const found = await Promise.all(checks.map((check) => runCheck(check, signal, patienceMs)));
  return sortFindings(found.flat());
}

const order: readonly DoctorFinding['severity'][] = ['error', 'warning', 'note'];

/** The worst first. */
export function sortFindings(findings: readonly DoctorFinding[]): DoctorFinding[] {
  return [...findings].sort((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity));
}

async function runCheck(
  { name, run }: DoctorCheck,
  signal: AbortSignal,
  patienceMs: number,
): Promise<readonly DoctorFinding[]> {
  const patience = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly DoctorFinding[]>((resolve) => {
    timer = setTimeout(() => {
      resolve([timedOut(name, patienceMs)]);
      patience.abort();
    }, patienceMs);
  });
  try {
    return await Promise.race([run(AbortSignal.any([signal, patience.signal])), late]);
  } catch (error) {
    return patience.signal.aborted ? [timedOut(name, patienceMs)] : [foundError(error)];
  } finally {
    clearTimeout(timer);
  }
}

function timedOut(name: string, patienceMs: number): DoctorFinding {
  return {
    severity: 'error',
    code: 'CHECK_TIMEOUT',
    what: `${name}: no answer within ${patienceMs / 1000} s`,
    hint: 'Is the network down, Lustre stuck, or the machine overloaded? See dmesg and the log of the daemon.',
  };
}

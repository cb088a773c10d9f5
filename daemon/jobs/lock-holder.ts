// Who holds the lock, as the metadata of its blob says it: values are percent-encoded, for headers take ASCII only. The
// lock writes and reads it.
import { JOB_KINDS, type JobHolder, type JobKind } from './job.js';

export interface LockHolder extends JobHolder {
  readonly kind: JobKind;
  readonly name: string;
  /** ISO 8601, UTC. */
  readonly started: string;
}

/** All metadata of a blob may have 8 KiB; a mount may have 4 KiB before it is encoded, and is for people only. */
const MAX_CHARS = 250;

function encode(text: string): string {
  // Half a surrogate pair would throw; Buffer makes it U+FFFD.
  const whole = Buffer.from(text.slice(0, MAX_CHARS)).toString();
  return encodeURIComponent(whole);
}

export function holderMetadata(holder: LockHolder): Record<string, string> {
  const { kind, name, host, mount, pid, started } = holder;
  return {
    kind,
    name: encode(name),
    host: encode(host),
    mount: encode(mount),
    pid: String(pid),
    started: encode(started),
  };
}

/** undefined where the metadata names nobody, as after a release, or makes no sense. */
export function holderOf(metadata: Readonly<Record<string, string>>): LockHolder | undefined {
  const { kind, name, host, mount, pid, started } = metadata;
  if (!JOB_KINDS.includes(kind as JobKind) || !name || !host || !started) return undefined;
  try {
    return {
      kind: kind as JobKind,
      name: decodeURIComponent(name),
      host: decodeURIComponent(host),
      mount: decodeURIComponent(mount ?? ''),
      pid: Number(pid ?? 0) || 0,
      started: decodeURIComponent(started),
    };
  } catch {
    return undefined;
  }
}

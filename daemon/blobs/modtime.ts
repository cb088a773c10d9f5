// Times in blob metadata: `2006-01-02 15:04:05 -0700` as AMLFS writes them, integer nanoseconds as AzCopy does.
// attributes.ts calls it.

const NS_PER_SECOND = 1_000_000_000n;

// Four digits of year: 0001 to 9999.
const FIRST_SECOND = BigInt(Date.parse('0001-01-01T00:00:00Z') / 1000);
const LAST_SECOND = BigInt(Date.parse('9999-12-31T23:59:59Z') / 1000);

/** Nanoseconds since 1970 as UTC text in whole seconds, rounded down; undefined outside the years 0001 to 9999. */
export function formatModtime(ns: bigint): string | undefined {
  const seconds = (ns - mod(ns, NS_PER_SECOND)) / NS_PER_SECOND;
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND) return undefined;
  const iso = new Date(Number(seconds) * 1000).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} +0000`;
}

const textPattern = /^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/;

export interface Modtime {
  /** Nanoseconds since 1970. */
  readonly ns: bigint;
  /** Whether the source tells no more than seconds. */
  readonly wholeSeconds: boolean;
}

/** Reads either form; undefined for anything else, dates that do not exist included. */
export function parseModtime(text: string): Modtime | undefined {
  if (/^-?\d{1,30}$/.test(text)) return { ns: BigInt(text), wholeSeconds: false };
  const match = textPattern.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, sign, zoneHours, zoneMinutes] = match;
  const utc = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(utc);
  // Date.parse refuses hour 25, but rolls February 30 over into March.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== utc) return undefined;
  if (Number(zoneHours) > 23 || Number(zoneMinutes) > 59) return undefined;
  const offsetSeconds = (sign === '-' ? -1 : 1) * (Number(zoneHours) * 3600 + Number(zoneMinutes) * 60);
  return { ns: BigInt(ms / 1000 - offsetSeconds) * NS_PER_SECOND, wholeSeconds: true };
}

function mod(value: bigint, by: bigint): bigint {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
}

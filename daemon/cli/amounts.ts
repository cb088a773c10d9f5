// Sizes and durations as people write them, for options of commands.
import { InvalidArgumentError } from 'commander';

const POWERS = ['', 'K', 'M', 'G', 'T', 'P'];

/** `4096`, `10G`, `10GiB` (of 1024), `10GB` (of 1000) → bytes. Throws InvalidArgumentError. */
export function parseSize(text: string): number {
  const [, digits, power = '', ending = ''] =
    /^(\d{1,16}(?:\.\d{1,6})?) ?([KMGTP]?)(B|IB)?$/.exec(text.trim().toUpperCase()) ?? [];
  const bytes = Number(digits) * (ending === 'B' && power !== '' ? 1000 : 1024) ** POWERS.indexOf(power);
  if (digits !== undefined && Number.isSafeInteger(Math.round(bytes))) return Math.round(bytes);
  throw new InvalidArgumentError('Write a size as 4096, 500M, 10GiB (of 1024) or 10GB (of 1000).');
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3600, d: 86_400, w: 604_800 };

/** `90s`, `15m`, `12h`, `7d`, `2w`, `1d12h` → seconds. Throws InvalidArgumentError. */
export function parseDuration(text: string): number {
  const parts = [...text.trim().matchAll(/(\d{1,9})(min|[smhdw])/gy)];
  const whole = parts.map(([part]) => part).join('');
  const seconds = parts.reduce(
    (sum, [, count = '', unit = '']) => sum + Number(count) * (SECONDS[unit] ?? 0),
    0,
  );
  if (whole !== '' && whole === text.trim() && seconds <= 1_000_000_000) return seconds;
  throw new InvalidArgumentError('Write a duration as 90s, 15m, 12h, 7d, 2w or 1d12h.');
}

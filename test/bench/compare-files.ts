// Random files of an imported series, read through the mount and compared with their blobs. import.ts and restore.ts call it.
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const PER_DIRECTORY = 100;
export const SIZE_BYTES = 4096;
/** Metadata of every blob. */
export const ATTRIBUTES = {
  owner: '1001',
  group: '1002',
  permissions: '0640',
  modtime_ns: '1700000000123456789',
};
/** Any will do: the server looks at none. */
export const SAS = 'sv=2025-01-05&sr=c&sp=rl&sig=bench';
export const SAMPLES = 1000;
const READERS = 4;

/** The name of a blob of a series with directories of PER_DIRECTORY, as series.c has it. */
export function seriesName(series: string, n: number): string {
  const digits = (value: number, width: number): string => String(value).padStart(width, '0');
  return `${series}/${digits(Math.floor(n / PER_DIRECTORY), 5)}/${digits(n, 7)}`;
}

/** How many of SAMPLES random files do not read, or look, as they should. */
export async function countWrong(
  mount: string,
  serverUrl: string,
  series: string,
  count: number,
): Promise<number> {
  let wrong = 0;
  let left = SAMPLES;
  const reader = async (): Promise<void> => {
    while (left-- > 0) {
      const name = seriesName(series, Math.floor(Math.random() * count));
      const path = join(mount, name);
      const { uid, gid, mode, mtimeNs, size } = await lstat(path, { bigint: true });
      const answer = await fetch(`${serverUrl}/${name}?${SAS}`);
      const content = Buffer.from(await answer.arrayBuffer());
      const isRight =
        uid === 1001n &&
        gid === 1002n &&
        (mode & 0o7777n) === 0o640n &&
        mtimeNs === BigInt(ATTRIBUTES.modtime_ns) &&
        size === BigInt(SIZE_BYTES) &&
        content.length === SIZE_BYTES &&
        content.equals(await readFile(path));
      if (!isRight) wrong += 1;
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  return wrong;
}

// Asks the coordinator's parameters where an lctl of the MDS is at hand. The command line calls it: the daemon spawns nothing.
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import path from 'node:path';

const PATIENCE_MS = 10_000;
/** A line of hsm.actions has some 300 bytes; what is beyond is of the same kind. */
const MAX_BYTES = 256 * 2 ** 20;

const PARAMETERS = ['hsm_control', 'hsm.max_requests', 'hsm.agents', 'hsm.actions'] as const;
type Parameter = (typeof PARAMETERS)[number];

/** Each parameter's lines, of all metadata targets of the file system; empty where the target has none. */
export type CoordinatorParameters = Readonly<Record<Parameter, readonly string[]>>;

/** `given`, or the first of PATH; undefined where there is none. */
export async function findLctl(
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const named = given ?? env['LHSM_AZBLOB_LCTL'];
  const folders = [...(env['PATH'] ?? '').split(':').filter(Boolean), '/usr/sbin', '/sbin'];
  for (const file of named === undefined ? folders.map((folder) => path.join(folder, 'lctl')) : [named]) {
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  return undefined;
}

/** undefined where there is no metadata target here, as on every client, or lctl does not answer. */
export async function coordinatorParameters(
  lctl: string,
  fsname: string,
  signal: AbortSignal,
): Promise<CoordinatorParameters | undefined> {
  const found = {} as Record<Parameter, readonly string[]>;
  for (const parameter of PARAMETERS) {
    const text = await getParameter(lctl, `mdt.*.${parameter}`, signal);
    if (text === undefined) return undefined;
    found[parameter] = linesOf(text, fsname);
  }
  return found.hsm_control.length === 0 ? undefined : found;
}

function getParameter(lctl: string, name: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(
      lctl,
      ['get_param', name],
      { timeout: PATIENCE_MS, maxBuffer: MAX_BYTES, signal, encoding: 'utf8' },
      (error, stdout) => {
        resolve(error && error.code !== 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER' ? undefined : stdout);
      },
    );
  });
}

/** `mdt.<fsname>-MDT0000.<name>=<value>`; values of many lines begin on the next one. */
export function linesOf(text: string, fsname: string): string[] {
  const lines: string[] = [];
  let isOurs = false;
  for (const line of text.split('\n')) {
    const [, target, value = ''] = /^mdt\.(.+)-MDT[0-9a-fA-F]{4}\.[\w.]+=(.*)$/.exec(line) ?? [];
    if (target !== undefined) isOurs = target === fsname;
    const content = target === undefined ? line : value;
    if (isOurs && content.trim() !== '') lines.push(content.trim());
  }
  return lines;
}

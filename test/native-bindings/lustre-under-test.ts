// A Lustre for the tests that also run on a real one: LHSM_TEST_MOUNT and LHSM_TEST_LIBRARY name it, else the
// simulator is started. On a real one nobody else may serve archive id 1 on this mount meanwhile.
import { execFile, spawn } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { loadLustre } from '../../native-bindings/liblustreapi.js';
import type { ActionItem, Copytool, Fid, Lustre } from '../../native-bindings/lustre.js';
import { formatFid } from '../../native-bindings/lustre.js';
import { LustreSim } from '../lustre-sim/lustre-sim.js';

export const ARCHIVE_ID = 1;

export interface LustreUnderTest {
  readonly lustre: Lustre;
  readonly mount: string;
  /** A directory of this test on the mount, removed at its end. */
  readonly dir: string;
  readonly library: string;
  /** The path of `lfs`. */
  readonly lfs: string;
  /** undefined on a real Lustre. */
  readonly sim: LustreSim | undefined;
}

export async function startLustre(t: Test): Promise<LustreUnderTest> {
  const { LHSM_TEST_MOUNT: realMount, LHSM_TEST_LIBRARY: realLibrary } = process.env;
  const sim = realMount === undefined ? await LustreSim.start() : undefined;
  const mount = realMount ?? sim?.mount ?? '';
  const library = realLibrary ?? sim?.library ?? 'liblustreapi.so.1';
  const dir = join(mount, `lhsm-azblob-test-${process.pid}`);
  await mkdir(dir);
  t.teardown(async () => {
    await rm(dir, { recursive: true, force: true });
    await sim?.stop();
  });
  return { lustre: loadLustre({ library }), mount, dir, library, lfs: sim?.build.lfs ?? 'lfs', sim };
}

/** Takes received items one by one, of the FID and action asked for; others are kept. */
export class Inbox {
  readonly #items: ActionItem[] = [];
  readonly #flags = new Map<bigint, bigint>();

  constructor(readonly tool: Copytool) {}

  async next(action: number, fid: Fid, timeoutMs = 60_000): Promise<ActionItem> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const at = this.#items.findIndex(
        (item) => item.action === action && formatFid(item.fid) === formatFid(fid),
      );
      const [item] = at < 0 ? [] : this.#items.splice(at, 1);
      if (item) return item;
      const lists = await this.tool.receive(signal);
      if (lists.length === 0) throw new Error(`action ${action} of ${formatFid(fid)} did not come`);
      for (const list of lists) {
        for (const item of list.items) this.#flags.set(item.cookie, list.flags);
        this.#items.push(...list.items);
      }
    }
  }

  /** The flags of the list that the item came in. */
  flagsOf(item: ActionItem): bigint | undefined {
    return this.#flags.get(item.cookie);
  }
}

/** Reads a file in a process of its own: a released one blocks its reader. */
export function readElsewhere(path: string): Promise<Buffer> {
  const child = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'ignore'] });
  return buffer(child.stdout);
}

export async function runLfs(lfs: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(lfs, [...args]);
  return stdout;
}

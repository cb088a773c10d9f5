// A copytool within the test's process that does as it is told with each item, for the tests of what asks the coordinator.
import { writeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { CopytoolAction } from '../../../native-bindings/constants.js';
import { hasCode } from '../../../native-bindings/errors.js';
import type { ActionItem, Copytool, Fid, Lustre } from '../../../native-bindings/lustre.js';
import { formatFid } from '../../../native-bindings/lustre.js';

/** An errno for the end of an item, 0 for success; a promise holds it back. */
export type Verdict = (item: ActionItem) => number | Promise<number>;

const KEEP: Verdict = () => 0;

export class TestCopytool {
  /** As they came. */
  readonly received: ActionItem[] = [];
  verdict: Verdict = KEEP;
  /** Bytes that a restored file gets. */
  content = Buffer.from('restored');
  onEnd: (item: ActionItem, errno: number) => void = () => undefined;
  readonly #lustre: Lustre;
  readonly #mount: string;
  readonly #acting = new Set<Promise<void>>();
  readonly #canceled = new Map<bigint, () => void>();
  #copytool: Copytool | undefined;
  #stop = new AbortController();
  #serving: Promise<void> = Promise.resolve();

  constructor(lustre: Lustre, mount: string) {
    this.#lustre = lustre;
    this.#mount = mount;
  }

  async start(): Promise<void> {
    this.#stop = new AbortController();
    const copytool = await this.#lustre.register(this.#mount, [1]);
    this.#copytool = copytool;
    this.#serving = (async () => {
      while (!this.#stop.signal.aborted) {
        for (const { items } of await copytool.receive(this.#stop.signal)) {
          for (const item of items) {
            const acting = this.#act(copytool, item).finally(() => this.#acting.delete(acting));
            this.#acting.add(acting);
          }
        }
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#serving;
    while (this.#acting.size > 0) await Promise.all(this.#acting);
    await this.#copytool?.unregister();
    this.#copytool = undefined;
  }

  async #act(copytool: Copytool, item: ActionItem): Promise<void> {
    if (item.action === CopytoolAction.CANCEL) {
      this.#canceled.get(item.cookie)?.();
      return;
    }
    this.received.push(item);
    const canceled = new Promise<number>((resolve) => {
      this.#canceled.set(item.cookie, () => {
        resolve(125);
      });
    });
    let errno = 0;
    let isBegun = false;
    try {
      const isRestore = item.action === CopytoolAction.RESTORE;
      const action = await copytool.begin(item.raw, { opensData: isRestore });
      isBegun = true;
      errno = await Promise.race([this.verdict(item), canceled]);
      if (isRestore) {
        const fd = await action.openData();
        if (errno === 0) writeSync(fd, this.content);
      }
      await action.end(item.extent, 0, errno);
    } catch (error) {
      errno = hasCode(error, 'EBUSY') ? 16 : 5;
      const isCanceled = hasCode(error, 'ECANCELED');
      // A file that is removed before its action begins: the request waits for an end all the same.
      if (isCanceled || !isBegun) {
        const action = await copytool.begin(item.raw, { isError: true });
        await action.end(item.extent, 0, isCanceled ? 125 : errno);
      }
    } finally {
      this.#canceled.delete(item.cookie);
      this.onEnd(item, errno);
    }
  }
}

/** Released stubs, as an import makes them. */
export async function makeStubs(lustre: Lustre, paths: readonly string[], sizeBytes = 8n): Promise<Fid[]> {
  const fids: Fid[] = [];
  for (const path of paths) {
    const times = { atimeNs: 1n, mtimeNs: 1_700_000_000_000_000_000n };
    fids.push(await lustre.import(path, 1, { mode: 0o644, uid: 0, gid: 0, sizeBytes, ...times }));
  }
  return fids;
}

export async function makeFiles(lustre: Lustre, paths: readonly string[]): Promise<Fid[]> {
  const fids: Fid[] = [];
  for (const path of paths) {
    await writeFile(path, 'content');
    fids.push(await lustre.pathToFid(path));
  }
  return fids;
}

export const sameFid = (one: Fid, other: Fid): boolean => formatFid(one) === formatFid(other);

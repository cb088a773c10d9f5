// A coordinator in memory for the tests of hsm/: it keeps what became of every item, and refuses misuse. What the
// real one does is the simulator's part; here the point is which calls the agent makes, in which order.
import { closeSync, openSync } from 'node:fs';
import { errnoNumber, LhsmError } from '../../../native-bindings/errors.js';
import type {
  ActionItem,
  ActionList,
  BeginOptions,
  CopyAction,
  Copytool,
  Extent,
} from '../../../native-bindings/lustre.js';

export interface Ended {
  readonly cookie: bigint;
  readonly errno: number;
  readonly flags: number;
  readonly isError: boolean;
}

export function failure(code: string, op = 'llapi'): LhsmError {
  return new LhsmError(`${op}: ${code}`, { code, op, errno: errnoNumber(code) });
}

let nextCookie = 1n;

export function makeItem(action: number, options: { oid?: number; cookie?: bigint } = {}): ActionItem {
  const cookie = options.cookie ?? nextCookie++;
  const fid = { seq: 0x200000401n, oid: options.oid ?? Number(cookie), ver: 0 };
  return {
    action,
    fid,
    dfid: fid,
    extent: { offset: 0n, length: 0xffffffffffffffffn },
    cookie,
    gid: 0n,
    data: Buffer.alloc(0),
    raw: Buffer.from(`${action}:${cookie}`),
  };
}

export function makeList(
  items: readonly ActionItem[],
  options: { flags?: bigint; archiveId?: number; malformed?: string } = {},
): ActionList {
  return {
    version: 1,
    compoundId: 0n,
    flags: options.flags ?? 0n,
    archiveId: options.archiveId ?? 1,
    fsname: 'lustre',
    items,
    ...(options.malformed === undefined ? {} : { malformed: options.malformed }),
  };
}

/** Errors to give, by call, each used once; and everything that was called. */
export class FakeCopytool implements Copytool {
  readonly ended: Ended[] = [];
  readonly progress: { cookie: bigint; extent: Extent }[] = [];
  readonly begun: bigint[] = [];
  readonly misuse: string[] = [];
  readonly fail: { begin: LhsmError[]; errorBegin: LhsmError[]; progress: LhsmError[]; end: LhsmError[] } = {
    begin: [],
    errorBegin: [],
    progress: [],
    end: [],
  };
  /** Descriptors given out by openData. */
  readonly fds: number[] = [];
  /** What begins of these cookies wait for. */
  readonly stuck = new Map<bigint, Promise<void>>();
  /** What every end waits for before it reaches the coordinator. */
  holdEnds: () => Promise<void> = () => Promise.resolve();
  /** Called within `end`, before it returns. */
  onEnd: (ended: Ended) => void = () => undefined;

  receive(): Promise<ActionList[]> {
    return Promise.resolve([]);
  }

  async begin(raw: Buffer, options: BeginOptions = {}): Promise<CopyAction> {
    await Promise.resolve();
    const cookie = BigInt(raw.toString().split(':')[1] ?? '0');
    const isError = options.isError ?? false;
    await this.stuck.get(cookie);
    const wrong = (isError ? this.fail.errorBegin : this.fail.begin).shift();
    if (wrong) throw wrong;
    if (!isError) this.begun.push(cookie);
    let over = false;
    const mine: number[] = [];
    return {
      dataFid: () => ({ seq: 1n, oid: 1, ver: 0 }),
      openData: () => {
        const fd = openSync('/dev/null', 'r+');
        this.fds.push(fd);
        mine.push(fd);
        return Promise.resolve(fd);
      },
      progress: async (extent) => {
        await Promise.resolve();
        if (over) this.misuse.push(`progress after end of ${cookie}`);
        const bad = this.fail.progress.shift();
        if (bad) throw bad;
        this.progress.push({ cookie, extent });
      },
      end: async (_extent, flags, errno) => {
        await Promise.resolve();
        if (over) this.misuse.push(`second end of ${cookie}`);
        over = true;
        for (const fd of mine) closeSync(fd);
        await this.holdEnds();
        const bad = this.fail.end.shift();
        if (bad) throw bad;
        const ended = { cookie, errno, flags, isError };
        this.onEnd(ended);
        this.ended.push(ended);
        return undefined;
      },
    };
  }

  unregister(): Promise<void> {
    return Promise.resolve();
  }
}

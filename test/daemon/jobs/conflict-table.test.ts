// Every cell of the conflict table on the simulated Lustre: four modes, all that may be there, the three kinds of blobs.
import t from 'tap';
import type { ItemOutcome } from '../../../daemon/jobs/import-item.js';
import { CONFLICT_MODES, type ConflictMode } from '../../../daemon/jobs/job.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { ImportBench, MTIME_NS, OWNED, blob, directoryBlob, symlinkBlob, type Seen } from './import-bench.js';

const { ARCHIVED, DIRTY, EXISTS, LOST, RELEASED } = HsmStateFlag;
const CLEAN = ARCHIVED | EXISTS;
const STUB = CLEAN | RELEASED;
const LISTED = '"0x1"';

const bench = await ImportBench.start(t);

/** What is there before, under the code that a conflict with it has. */
const existing: Readonly<
  Record<string, { code: string; kind: Kind | 'other'; make: (path: string) => Promise<void> }>
> = {
  'not archived': { code: 'CONFLICT_FILE_NOT_ARCHIVED', kind: 'file', make: (path) => bench.file(path) },
  'never finished': {
    code: 'CONFLICT_FILE_NOT_ARCHIVED',
    kind: 'file',
    make: (path) => bench.file(path, EXISTS | DIRTY),
  },
  'clean, this version': {
    code: 'CONFLICT_FILE_CLEAN',
    kind: 'file',
    make: (path) => bench.file(path, CLEAN, LISTED),
  },
  'clean, another version': {
    code: 'CONFLICT_FILE_CLEAN',
    kind: 'file',
    make: (path) => bench.file(path, CLEAN, '"0x0"'),
  },
  'clean, another size': {
    code: 'CONFLICT_FILE_CLEAN',
    kind: 'file',
    make: (path) => bench.file(path, CLEAN, LISTED, 'longer'),
  },
  'clean, without xattrs': {
    code: 'CONFLICT_FILE_CLEAN',
    kind: 'file',
    make: (path) => bench.file(path, CLEAN),
  },
  dirty: {
    code: 'CONFLICT_FILE_DIRTY',
    kind: 'file',
    make: (path) => bench.file(path, CLEAN | DIRTY, LISTED),
  },
  'released, this version': {
    code: 'CONFLICT_FILE_RELEASED',
    kind: 'file',
    make: (path) => bench.file(path, STUB, LISTED),
  },
  'released, another version': {
    code: 'CONFLICT_FILE_RELEASED',
    kind: 'file',
    make: (path) => bench.file(path, STUB, '"0x0"'),
  },
  lost: { code: 'CONFLICT_FILE_LOST', kind: 'file', make: (path) => bench.file(path, CLEAN | LOST, LISTED) },
  'empty directory': {
    code: 'CONFLICT_DIRECTORY',
    kind: 'directory',
    make: (path) => bench.mkdir(path),
  },
  'full directory': {
    code: 'CONFLICT_DIRECTORY',
    kind: 'directory',
    make: (path) => bench.mkdir(`${path}/full`),
  },
  'same link': { code: 'CONFLICT_SYMLINK', kind: 'symlink', make: (path) => bench.symlink('target', path) },
  'other link': {
    code: 'CONFLICT_SYMLINK',
    kind: 'symlink',
    make: (path) => bench.symlink('elsewhere', path),
  },
  fifo: { code: 'CONFLICT_OTHER', kind: 'other', make: (path) => bench.fifo(path) },
};

type Kind = 'file' | 'directory' | 'symlink';
const blobs = { file: blob, directory: directoryBlob, symlink: symlinkBlob } as const;

/** `=`: as it was; `a`: attributes; `r`: attributes, then released; `x`: deleted and imported; `!`: an error; `d`: no conflict. */
type Deed = '=' | 'a' | 'r' | 'x' | '!' | 'd' | 'stop';

/** By what is there: the deeds for a blob that is a file, a directory, a link. */
const dirtyTable: Readonly<Record<string, string>> = {
  'not archived': 'xxx',
  'never finished': 'xxx',
  'clean, this version': 'axx',
  'clean, another version': 'axx',
  'clean, another size': 'axx',
  'clean, without xattrs': 'axx',
  dirty: 'xxx',
  'released, this version': 'axx',
  'released, another version': 'axx',
  lost: 'xxx',
  'empty directory': 'xdx',
  'full directory': '!d!',
  'same link': 'xxa',
  'other link': 'xxx',
  fifo: 'xxx',
};
const alwaysTable: Readonly<Record<string, string>> = {
  ...dirtyTable,
  'clean, this version': 'rxx',
  'clean, another version': 'xxx',
  'clean, another size': 'xxx',
  'clean, without xattrs': 'xxx',
  'released, another version': 'xxx',
};

function deedFor(mode: ConflictMode, what: string, kind: Kind): Deed {
  if (existing[what]?.kind === 'directory' && kind === 'directory') return 'd';
  if (mode === 'fail') return 'stop';
  if (mode === 'skip') return '=';
  const row = (mode === 'overwrite-dirty' ? dirtyTable : alwaysTable)[what] ?? '';
  return row[['file', 'directory', 'symlink'].indexOf(kind)] as Deed;
}

const countOf = { file: 'Files', directory: 'Directories', symlink: 'Symlinks' } as const;

/** What an import leaves, whatever was there. */
const results: Readonly<Record<Kind, (path: string) => Partial<Seen>>> = {
  file: (path) => ({
    type: 'file',
    mode: 0o1640,
    size: 5n,
    states: STUB,
    uuid: `az://box/${path}`,
    etag: LISTED,
    ...OWNED,
  }),
  directory: () => ({ type: 'directory', mode: 0o1750, uid: 1001, gid: 1002 }),
  symlink: () => ({ type: 'symlink', target: 'target', ...OWNED }),
};

function expectedCounts(deed: Deed, kind: Kind, found: Kind | 'other'): ItemOutcome['counts'] {
  const imported = { totalBlobsImported: 1, [`imported${countOf[kind]}`]: 1 };
  const there = found === kind ? { [`preexisting${countOf[kind]}`]: 1 } : {};
  const conflict = { totalConflicts: 1, ...there };
  switch (deed) {
    case 'd':
      return there;
    case '=':
      return { ...conflict, unresolvedConflicts: 1 };
    case '!':
      return { ...conflict, unresolvedConflicts: 1, totalErrors: 1 };
    case 'x':
      return { ...conflict, ...imported };
    default:
      return conflict;
  }
}

const actions = { '=': 'skipped', a: 'attributes', r: 'released', x: 'replaced', '!': 'none' } as const;

let cases = 0;
for (const mode of CONFLICT_MODES) {
  for (const [what, { code, kind: found, make }] of Object.entries(existing)) {
    for (const kind of ['file', 'directory', 'symlink'] as const) {
      t.test(`${mode}: ${what}, and the blob is a ${kind}`, async (t) => {
        cases += 1;
        const dir = `case-${cases}`;
        const path = `${dir}/x`;
        await bench.mkdir(dir);
        await make(path);
        const before = await bench.tree(dir);
        bench.noted.length = 0;
        bench.bodies.set(path, 'target');
        const permissions = { permissions: kind === 'directory' ? '1750' : '1640' };
        const item = kind === 'symlink' ? symlinkBlob(path) : blobs[kind](path, permissions);
        const deed = deedFor(mode, what, kind);
        const run = (): Promise<ItemOutcome> => bench.import(item, { spec: { conflictMode: mode } });

        if (deed === 'stop') {
          await t.rejects(run(), { code: 'CONFLICT', errno: 17, message: path });
          t.strictSame(await bench.tree(dir), before);
          return;
        }
        const { counts, entries } = await run();
        t.strictSame(counts, expectedCounts(deed, kind, found));
        t.match(
          entries,
          [
            ...(deed === 'd' ? [] : [{ kind: 'conflict', code, action: actions[deed], path }]),
            ...(deed === '!' ? [{ kind: 'error', code: 'DIRECTORY_NOT_EMPTY', path }] : []),
          ],
          'what the log says',
        );
        t.equal(entries.length, (deed === 'd' ? 0 : 1) + (deed === '!' ? 1 : 0));
        const after = await bench.look(path);
        t.strictSame(
          bench.noted,
          kind === 'directory' && deed !== '=' ? [{ path, mtimeNs: MTIME_NS }] : [],
          'times of directories wait',
        );
        if (deed === '=' || deed === '!') {
          t.strictSame(await bench.tree(dir), before);
          return;
        }
        if (deed === 'x' || deed === 'd') {
          t.match(after, results[kind](path));
          t.equal(after?.ino === before[path]?.ino, deed === 'd', deed === 'd' ? 'the same' : 'another');
        } else {
          const { states, etag, uuid, size } = before[path] ?? {};
          const now = { ...results[kind](path), size, ...(kind === 'file' ? { states, etag, uuid } : {}) };
          t.match(after, { ...now, ino: before[path]?.ino, ...(deed === 'r' ? { states: STUB } : {}) });
        }
        if (what === 'full directory') t.equal((await bench.look(`${path}/full`))?.type, 'directory');
        t.equal(
          Object.keys(await bench.tree(dir)).length,
          Object.keys(before).length,
          'nothing else is there',
        );

        // Attributes that agree already are no deed.
        if (deed === 'a') {
          t.match(await run(), { entries: [{ action: 'none' }], counts: { totalConflicts: 1 } });
        }
      });
    }
  }
}

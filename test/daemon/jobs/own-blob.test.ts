// A blob that names a deleted file of this file system becomes its new stub's, or an archive would replace the only copy.
import { rename, rm } from 'node:fs/promises';
import t from 'tap';
import { importItem } from '../../../daemon/jobs/import-item.js';
import type { ItemTools } from '../../../daemon/jobs/import-item.js';
import type { ListedBlob } from '../../../daemon/blobs/listing.js';
import { fileSystemId } from '../../../daemon/movers/file-system-id.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { formatFid } from '../../../native-bindings/lustre.js';
import { ImportBench, blob, noSignal } from './import-bench.js';

const { ARCHIVED, EXISTS, RELEASED } = HsmStateFlag;
const STUB = ARCHIVED | EXISTS | RELEASED;
const bench = await ImportBench.start(t);
const fileSystem = await fileSystemId(bench.lustre, bench.sim.mount);
let serial = 0;
const fresh = (): string => `t${(serial += 1)}`;

const fidOf = async (path: string): Promise<string> =>
  formatFid(await bench.lustre.pathToFid(bench.path(path)));

async function deadFid(): Promise<string> {
  const name = fresh();
  await bench.file(name);
  const fid = await fidOf(name);
  await rm(bench.path(name));
  return fid;
}

/** A container of one blob whose metadata can be set. */
class OneBlob {
  readonly requests: string[] = [];
  failure: LhsmError | undefined;
  listed: ListedBlob;

  constructor(listed: ListedBlob) {
    this.listed = listed;
  }

  get tools(): Partial<ItemTools> {
    return {
      container: {
        ...bench.container(),
        setMetadata: (name, metadata, etag) => {
          this.requests.push(name);
          if (this.failure) return Promise.reject(this.failure);
          if (etag !== this.listed.etag) return Promise.reject(failed('BLOB_CHANGED'));
          const next = `"0x${100 + this.requests.length}"`;
          this.listed = { ...this.listed, etag: next, metadata };
          return Promise.resolve(next);
        },
      },
    };
  }
}

function failed(code: string, retryable = false): LhsmError {
  return new LhsmError(`the service says ${code}`, { code, op: 'Set Blob Metadata', errno: 5, retryable });
}

t.test('the blob of a deleted file of this file system becomes the stub’s, once', async (t) => {
  const name = fresh();
  const before = { lustre_fid: await deadFid(), lustre_fs: fileSystem, lhsm_crc64: 'AAAA', other: ' as is ' };
  const one = new OneBlob(blob(name, before));
  const { entries } = await bench.import(one.listed, { tools: one.tools });
  t.strictSame(entries, []);
  t.strictSame(one.requests, [name]);
  t.strictSame(one.listed.metadata, { ...blob(name, before).metadata, lustre_fid: await fidOf(name) });
  t.match(await bench.look(name), { states: STUB, etag: one.listed.etag, uuid: `az://box/${name}` });

  const again = await bench.import(one.listed, {
    tools: one.tools,
    spec: { conflictMode: 'overwrite-always' },
  });
  t.match(again.entries, [{ kind: 'conflict', action: 'none' }], 'it is of this very version');
  t.equal(one.requests.length, 1);
});

t.test('no request for blobs that name no file, or one of another file system', async (t) => {
  const lustre_fid = await deadFid();
  for (const metadata of [
    {},
    { lustre_fid },
    { lustre_fid: 'nonsense', lustre_fs: fileSystem },
    { lustre_fid, lustre_fs: 'another@1' },
    { lustre_fs: fileSystem },
  ]) {
    const name = fresh();
    const one = new OneBlob(blob(name, metadata));
    t.strictSame((await bench.import(one.listed, { tools: one.tools })).entries, []);
    t.strictSame(one.requests, []);
    t.match(await bench.look(name), { etag: '"0x1"' });
  }
});

t.test('refused: the import is as it was, and says so', async (t) => {
  for (const code of ['FORBIDDEN', 'BLOB_CHANGED', 'BLOB_IMMUTABLE', 'BLOB_LEASED', 'BLOB_ARCHIVED']) {
    const name = fresh();
    const lustre_fid = await deadFid();
    const one = new OneBlob(blob(name, { lustre_fid, lustre_fs: fileSystem }));
    one.failure = failed(code);
    const { entries, counts } = await bench.import(one.listed, { tools: one.tools });
    t.match(entries, [{ kind: 'warning', code: 'OWNER_NOT_UPDATED', message: lustre_fid }], code);
    t.match(counts, { importedFiles: 1, totalWarnings: 1 });
    t.match(await bench.look(name), { states: STUB, etag: '"0x1"' });
  }
});

t.test(
  'a blob that is gone by then is an error; a service out of reach ends the job; nothing is left',
  async (t) => {
    const name = fresh();
    const one = new OneBlob(blob(name, { lustre_fid: await deadFid(), lustre_fs: fileSystem }));
    one.failure = failed('BLOB_MISSING');
    const { entries } = await bench.import(one.listed, { tools: one.tools });
    t.match(entries, [{ kind: 'error', code: 'BLOB_VANISHED', errno: 'ENOENT' }]);
    t.equal(await bench.look(name), undefined);
    for (const error of [failed('UNREACHABLE', true), failed('CONTAINER_MISSING'), failed('ECANCELED')]) {
      one.failure = error;
      await t.rejects(bench.import(one.listed, { tools: one.tools }), { code: error.code });
      t.equal(await bench.look(name), undefined);
    }
  },
);

t.test('a file that was renamed keeps its copy: its version is not touched', async (t) => {
  const name = fresh();
  const moved = fresh();
  await bench.file(name, STUB, '"0x1"');
  const lustre_fid = await fidOf(name);
  await rename(bench.path(name), bench.path(moved));
  const one = new OneBlob(blob(name, { lustre_fid, lustre_fs: fileSystem }));
  const { entries } = await bench.import(one.listed, { tools: one.tools });
  t.match(entries, [{ kind: 'warning', code: 'OWNER_NOT_UPDATED', message: 'that file lives' }]);
  t.strictSame(one.requests, []);
  t.match(await bench.look(moved), { etag: '"0x1"' });
  t.match(await bench.look(name), { etag: '"0x1"' });
});

t.test('killed at any moment, going on ends with the blob as the stub’s', async (t) => {
  const lustre_fid = await deadFid();
  let outcome: unknown = 'dead';
  for (let calls = 0; outcome === 'dead'; calls += 1) {
    const name = fresh();
    const one = new OneBlob(blob(name, { lustre_fid, lustre_fs: fileSystem }));
    const startedNs = BigInt(Date.now()) * 1_000_000n;
    await bench.withTools({ tools: { ...one.tools, startedNs } }, async (tools) => {
      let left = calls;
      let die: () => void = () => undefined;
      const death = new Promise<'dead'>((resolve) => {
        die = () => {
          resolve('dead');
        };
      });
      const step = <T>(work: () => Promise<T>): Promise<T> => {
        if (left-- > 0) return work();
        die();
        return new Promise<T>(() => undefined);
      };
      const alive = tools.container;
      const container: typeof alive = {
        ...alive,
        // Its answer may be what the dead process does not get.
        setMetadata: async (...args) => {
          const etag = await step(() => alive.setMetadata(...args));
          return step(() => Promise.resolve(etag));
        },
      };
      const done = importItem(one.listed, { ...tools, container, share: { run: step } }, noSignal);
      outcome = await Promise.race([done, death]);
    });
    const { entries } = await bench.import(one.listed, {
      tools: { ...one.tools, startedNs, resumed: true },
    });
    t.strictSame(entries, [], `killed after ${calls} calls`);
    t.match(one.listed.metadata, { lustre_fid: await fidOf(name) });
    t.match(await bench.look(name), { states: STUB, etag: one.listed.etag });
    t.equal(one.requests.length, 1);
  }
});

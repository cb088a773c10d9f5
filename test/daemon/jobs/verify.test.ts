import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import t from 'tap';
import type { Finding } from '../../../daemon/jobs/finding.js';
import {
  verify,
  type VerifyNumbers,
  type VerifyOptions,
  type VerifyTools,
} from '../../../daemon/jobs/verify.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startCopiesSite } from './copies-site.js';

const { ARCHIVED, DIRTY, EXISTS, LOST, RELEASED } = HsmStateFlag;
const copies = await startCopiesSite();
const { site, lustre, tools, container, path } = copies;
t.teardown(() => copies.stop());
const noSignal = new AbortController().signal;

interface Ran extends VerifyNumbers {
  readonly findings: Finding[];
  readonly codes: string[];
}

async function run(options: Partial<VerifyOptions>, with_: VerifyTools = tools): Promise<Ran> {
  const findings: Finding[] = [];
  const numbers = await verify(
    { paths: [], content: false, repair: false, ...options },
    with_,
    { onFinding: (finding) => findings.push(finding) },
    noSignal,
  );
  const codes = findings.map(({ code, path: at }) => `${at?.toString() ?? ''} ${code}`).sort();
  return { ...numbers, findings, codes };
}

const states = async (name: string): Promise<number> => (await lustre.hsmState(path(name))).states;

async function archived(dir: string, ...names: string[]): Promise<void> {
  await mkdir(path(dir), { recursive: true });
  for (const name of names) await writeFile(path(dir, name), `content of ${name}`);
  await site.hsm('archive', ...names.map((name) => path(dir, name)));
}

/** Puts other bytes under the same metadata, and has the file remember that version. */
async function damage(name: string, content: string): Promise<void> {
  const blob = container.getBlockBlobClient(name);
  const { metadata } = await blob.getProperties();
  const { etag } = await blob.upload(content, Buffer.byteLength(content), metadata ? { metadata } : {});
  const file = await open(path(name));
  await lustre.setXattr(file.fd, 'trusted.lhsm_etag', Buffer.from(etag ?? ''));
  await file.close();
}

t.test('a tree that is as it should be has no findings', async (t) => {
  await archived('good', 'present', 'released', 'dirty');
  await writeFile(path('good/never'), 'x');
  await site.hsm('release', path('good/released'));
  await writeFile(path('good/dirty'), 'longer than before, and dirty');
  const ran = await run({ paths: ['good'], content: true, repair: true });
  t.match(ran, {
    files: 4,
    checked: 3,
    notArchived: 1,
    contentChecked: 2,
    errors: 0,
    warnings: 0,
    repaired: 0,
  });
  t.same(ran.codes, []);
  t.equal(await states('good/released'), EXISTS | ARCHIVED | RELEASED, 'nothing was restored');
});

t.test('findings without repair change nothing', async (t) => {
  await archived('found', 'gone', 'changed', 'size', 'released-gone', 'released-changed');
  await site.hsm('release', path('found/released-gone'), path('found/released-changed'));
  await container.deleteBlob('found/gone');
  await container.deleteBlob('found/released-gone');
  for (const name of ['changed', 'released-changed']) {
    await container.getBlockBlobClient(`found/${name}`).upload(`content of ${name}`, 11 + name.length);
  }
  await damage('found/size', 'short');
  const before = await states('found/gone');
  const ran = await run({ paths: ['found'] });
  t.same(ran.codes, [
    'found/changed BLOB_CHANGED',
    'found/gone BLOB_MISSING',
    'found/released-changed BLOB_CHANGED',
    'found/released-gone BLOB_MISSING',
    'found/size SIZE_MISMATCH',
  ]);
  t.match(ran, { errors: 5, repaired: 0 });
  t.ok(ran.findings.every(({ hint, severity }) => hint !== undefined && severity === 'error'));
  t.equal(await states('found/gone'), before);
});

t.test('repair marks dirty what has content, and lost what has none', async (t) => {
  const times = await Promise.all(
    ['gone', 'released-gone'].map((name) => stat(path('found', name), { bigint: true })),
  );
  const ran = await run({ paths: ['found'], repair: true });
  t.match(ran, { errors: 5, repaired: 4 });
  t.equal(await states('found/gone'), EXISTS | ARCHIVED | DIRTY | LOST);
  t.equal(await states('found/changed'), EXISTS | ARCHIVED | DIRTY);
  t.equal(await states('found/size'), EXISTS | ARCHIVED | DIRTY);
  t.equal(await states('found/released-gone'), EXISTS | ARCHIVED | RELEASED | LOST);
  t.equal(await states('found/released-changed'), EXISTS | ARCHIVED | RELEASED, 'its version may come back');
  const after = await Promise.all(
    ['gone', 'released-gone'].map((name) => stat(path('found', name), { bigint: true })),
  );
  after.forEach((one, at) => {
    for (const time of ['atimeNs', 'mtimeNs', 'ctimeNs'] as const)
      t.equal(one[time], times[at]?.[time], time);
  });
  t.match(await run({ paths: ['found'], repair: true }), { repaired: 0 }, 'once is enough');
  t.equal(await readFile(path('found/gone'), 'utf8'), 'content of gone');
  await site.hsm('archive', path('found/gone'));
  t.equal(await states('found/gone'), EXISTS | ARCHIVED, 'archived anew, it is lost no more');
  t.equal((await container.getBlobClient('found/gone').downloadToBuffer()).toString(), 'content of gone');
});

t.test('content: damaged blobs, and a file that is not what was archived', async (t) => {
  await archived('content', 'blob', 'released', 'file', 'no-crc');
  await site.hsm('release', path('content/released'));
  await damage('content/blob', 'CONTENT OF BLOB');
  await damage('content/released', 'CONTENT OF RELEASED');
  const plain = container.getBlockBlobClient('content/no-crc');
  const { etag } = await plain.upload('content of no-crc', 17);
  const file = await open(path('content/no-crc'));
  await lustre.setXattr(file.fd, 'trusted.lhsm_etag', Buffer.from(etag ?? ''));
  await file.close();
  t.same((await run({ paths: ['content'] })).codes, [], 'versions and sizes are right');

  // What a damaged OST would do: bytes that change without a write.
  await writeFile(path('content/file'), 'CONTENT OF FILE');
  await lustre.setHsmState(path('content/file'), { set: 0, clear: DIRTY });
  const ran = await run({ paths: ['content'], content: true });
  t.same(
    ran.codes,
    ['content/file CHECKSUM_MISMATCH', 'content/released CHECKSUM_MISMATCH'],
    'a present file whose content is what was archived needs no look at the blob',
  );
  t.match(ran, { withoutChecksum: 1, repaired: 0, errors: 2 });
  t.equal(await states('content/file'), EXISTS | ARCHIVED);
  t.equal(await states('content/released'), EXISTS | ARCHIVED | RELEASED);

  const before = await stat(path('content/file'), { bigint: true });
  const repaired = await run({ paths: ['content'], content: true, repair: true });
  t.same(repaired.codes, ran.codes);
  t.match(repaired, { errors: 2, repaired: 2 });
  const says = new Map(repaired.findings.map(({ path: at, repaired: how }) => [at?.toString(), how]));
  t.match(says.get('content/file'), /marked dirty: the next archive replaces the copy/);
  t.equal(says.get('content/released'), 'marked lost');
  t.equal(await states('content/file'), EXISTS | ARCHIVED | DIRTY);
  t.equal(await states('content/released'), EXISTS | ARCHIVED | RELEASED | LOST);
  t.equal((await stat(path('content/file'), { bigint: true })).ctimeNs, before.ctimeNs);
  const again = await run({ paths: ['content'], content: true, repair: true });
  t.match(again, { codes: ['content/released CHECKSUM_MISMATCH'], repaired: 0 }, 'once is enough');
  t.match(await run({ paths: ['content/released'] }), {
    codes: ['content/released FILE_LOST'],
    errors: 0,
    findings: [{ hint: /verify --content/ }],
  });

  await site.hsm('archive', path('content/file'));
  t.equal(await states('content/file'), EXISTS | ARCHIVED);
  const copied = await container.getBlobClient('content/file').downloadToBuffer();
  t.equal(copied.toString(), 'CONTENT OF FILE', 'the copy is what the file holds');
  t.match(await run({ paths: ['content/file'], content: true, repair: true }), {
    errors: 0,
    contentChecked: 1,
  });

  await writeFile(path('content/file'), 'content of FILE');
  await lustre.setHsmState(path('content/file'), { set: 0, clear: DIRTY });
  await damage('content/file', 'neither of the2');
  const both = await run({ paths: ['content/file'], content: true, repair: true });
  t.match(both, { repaired: 1, findings: [{ repaired: 'marked dirty: the next archive copies it anew' }] });
  t.equal(await states('content/file'), EXISTS | ARCHIVED | DIRTY);
});

t.test('the version that a file remembers has another size: lost when it is released', async (t) => {
  await archived('size', 'present', 'released', 'unpinned');
  await site.hsm('release', path('size/released'), path('size/unpinned'));
  for (const name of ['present', 'released', 'unpinned']) await damage(`size/${name}`, 'short');
  const file = await open(path('size/unpinned'));
  await lustre.changeXattrs(file.fd, [{ name: 'trusted.lhsm_etag', value: undefined }]);
  await file.close();
  const ran = await run({ paths: ['size'], repair: true });
  t.match(ran, { errors: 3, repaired: 2 });
  t.ok(ran.findings.every(({ code }) => code === 'SIZE_MISMATCH'));
  t.equal(await states('size/present'), EXISTS | ARCHIVED | DIRTY);
  t.equal(await states('size/released'), EXISTS | ARCHIVED | RELEASED | LOST);
  t.equal(
    await states('size/unpinned'),
    EXISTS | ARCHIVED | RELEASED,
    'it may be another one that was archived',
  );
});

t.test('a damage that the second look does not find again marks nothing', async (t) => {
  await archived('twice', 'f');
  await site.hsm('release', path('twice/f'));
  let reads = 0;
  const transfer: VerifyTools['transfer'] = {
    download: (...args) => {
      reads += 1;
      if (reads > 1) return tools.transfer.download(...args);
      return Promise.reject(new LhsmError('a bit fell over', { code: 'CHECKSUM_MISMATCH', op: 'Get Blob' }));
    },
  };
  const ran = await run({ paths: ['twice'], content: true, repair: true }, { ...tools, transfer });
  t.match(ran, { codes: ['twice/f CHECKSUM_MISMATCH'], repaired: 0 });
  t.equal(reads, 2);
  t.equal(await states('twice/f'), EXISTS | ARCHIVED | RELEASED);
});

t.test('lost but clean: with its copy gone it is to be archived anew', async (t) => {
  await archived('mark', 'f');
  await container.deleteBlob('mark/f');
  await lustre.setHsmState(path('mark/f'), { set: LOST, clear: 0 });
  t.match(await run({ paths: ['mark'], repair: true }), { codes: ['mark/f BLOB_MISSING'], repaired: 1 });
  t.equal(await states('mark/f'), EXISTS | ARCHIVED | LOST | DIRTY);
  await site.hsm('archive', path('mark/f'));
  t.equal(await states('mark/f'), EXISTS | ARCHIVED);
  t.match(await run({ paths: ['mark'], content: true }), { codes: [], contentChecked: 1 });
});

t.test('what cannot be judged is a warning, and not repaired', async (t) => {
  await archived('doubt', 'unpinned', 'elsewhere', 'nonsense', 'lost');
  const value: Record<string, [string, string]> = {
    elsewhere: ['trusted.lhsm_uuid', 'az://another-one/doubt/elsewhere'],
    nonsense: ['trusted.lhsm_uuid', 's3://nonsense'],
  };
  for (const [name, [xattr, text]] of Object.entries(value)) {
    const file = await open(path('doubt', name));
    await lustre.setXattr(file.fd, xattr, Buffer.from(text));
    await file.close();
  }
  const file = await open(path('doubt/unpinned'));
  await lustre.changeXattrs(file.fd, [{ name: 'trusted.lhsm_etag', value: undefined }]);
  await file.close();
  await lustre.setHsmState(path('doubt/lost'), { set: LOST, clear: 0 });
  const ran = await run({ paths: ['doubt'], repair: true });
  t.same(ran.codes, [
    'doubt/elsewhere OTHER_CONTAINER',
    'doubt/lost FILE_LOST',
    'doubt/nonsense BLOB_XATTR_INVALID',
    'doubt/unpinned NOT_PINNED',
  ]);
  t.match(ran, { errors: 0, warnings: 4, repaired: 0 });
});

t.test('a container that cannot be asked ends it, and nothing is marked', async (t) => {
  const down = new LhsmError('no answer', { code: 'UNREACHABLE', op: 'Get Blob Properties', errno: 11 });
  const archive = tools.container(1);
  if (!archive) throw new Error('no container');
  const broken = { ...archive, properties: () => Promise.reject(down), container: 'archive', prefix: '' };
  await t.rejects(run({ paths: ['good'], repair: true }, { ...tools, container: () => broken }), {
    code: 'UNREACHABLE',
  });
  t.equal(await states('good/present'), EXISTS | ARCHIVED);
});

t.test('a blob that is there at the second look is not taken for lost', async (t) => {
  await archived('flicker', 'f');
  const archive = tools.container(1);
  if (!archive) throw new Error('no container');
  let looks = 0;
  const flickering = new Proxy(archive, {
    get(target, name) {
      if (name === 'properties') {
        return (...args: Parameters<typeof archive.properties>) =>
          (looks += 1) === 1 ? Promise.resolve(undefined) : target.properties(...args);
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const ran = await run({ paths: ['flicker'], repair: true }, { ...tools, container: () => flickering });
  t.match(ran, { repaired: 0, codes: ['flicker/f BLOB_MISSING'] });
  t.equal(await states('flicker/f'), EXISTS | ARCHIVED);
});

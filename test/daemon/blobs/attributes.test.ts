// POSIX attributes as metadata: what we write comes back, and everything that others write is understood.
import fc from 'fast-check';
import t from 'tap';
import {
  attributesOf,
  metadataOf,
  type PosixAttributes,
  type ReadOptions,
} from '../../../daemon/blobs/attributes.js';

const timeBox = { interruptAfterTimeLimit: 2000, numRuns: 500 };
const lastModified = new Date('2026-11-22T09:32:49Z');
const lastModifiedNs = 1795339969000000000n;

function read(
  metadata: Record<string, string>,
  options: ReadOptions = {},
  more = {},
): ReturnType<typeof attributesOf> {
  return attributesOf({ metadata, lastModified, ...more }, options);
}

const id = fc.integer({ min: 0, max: 0xffff_fffe });
const attributes: fc.Arbitrary<PosixAttributes> = fc.record({
  kind: fc.constantFrom('file', 'directory', 'symlink'),
  uid: id,
  gid: id,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  mtimeNs: fc.bigInt(-(2n ** 62n), 2n ** 62n),
});

t.test('what we write, we read again, to the nanosecond', (t) => {
  fc.assert(
    fc.property(attributes, fc.boolean(), (from, keepSetId) => {
      const back = read(metadataOf(from, { keepSetId, fid: '[0x1:0x2:0x0]' }), { keepSetId });
      t.same(back, {
        ...from,
        mode: from.mode & (keepSetId ? 0o7777 : 0o1777),
        fid: '[0x1:0x2:0x0]',
        warnings: [],
      });
    }),
    { ...timeBox, numRuns: 200 },
  );
  t.end();
});

t.test('the keys and formats that we write', (t) => {
  const file = { kind: 'file', uid: 1001, gid: 0, mode: 0o107640, mtimeNs: 1795339969979513011n } as const;
  t.same(metadataOf(file, { fid: '[0x200000401:0x1af:0x0]' }), {
    owner: '1001',
    group: '0',
    permissions: '1640',
    modtime: '2026-11-22 09:32:49 +0000',
    modtime_ns: '1795339969979513011',
    lustre_fid: '[0x200000401:0x1af:0x0]',
  });
  t.match(metadataOf(file, { keepSetId: true }), { permissions: '7640' });
  t.match(metadataOf({ ...file, mode: 0o755, kind: 'directory' }), {
    permissions: '0755',
    hdi_isfolder: 'true',
  });
  t.match(metadataOf({ ...file, kind: 'symlink' }), { ftype: 'LNK', is_symlink: 'true' });
  t.match(metadataOf({ ...file, mtimeNs: -1n }), { modtime: '1969-12-31 23:59:59 +0000', modtime_ns: '-1' });
  t.equal(
    metadataOf({ ...file, mtimeNs: 2n ** 70n })['modtime'],
    undefined,
    'a year of five digits is left out',
  );
  t.end();
});

t.test('permissions in every form', (t) => {
  const cases: readonly (readonly [string, number])[] = [
    ['0640', 0o640],
    ['1755', 0o1755],
    ['755', 0o755],
    ['33184', 0o640],
    ['17389', 0o1755],
    ['41471', 0o777],
    ['rwxr-xr-x', 0o755],
    ['rw-r-----', 0o640],
    ['rwxr-x---+', 0o750],
    ['rwxrwxrwt', 0o1777],
    ['rwxrwxrwT', 0o1776],
    ['rwxr-xr-xt', 0o1755],
    ['---------', 0],
    [' 0640 ', 0o640],
  ];
  for (const [permissions, mode] of cases) {
    t.match(read({ permissions }), { mode, warnings: [] }, permissions);
  }
  t.match(read({ perm: '0755' }), { mode: 0o755, warnings: [] }, 'the old key');
  t.match(read({ perm: '33184' }), { mode: 0o644 }, 'which is octal only');
  for (const permissions of [
    'rwx',
    'u=rwx',
    '0o755',
    '-0755',
    '999',
    '99999',
    '65536000',
    'rwxrwxrwz',
    '4095',
    '8',
  ]) {
    t.match(
      read({ permissions }),
      { mode: 0o644, warnings: [{ code: 'MODE_UNREADABLE', key: 'permissions' }] },
      permissions,
    );
  }
  t.match(read({ permissions: 'what', hdi_isfolder: 'true' }), { mode: 0o755 });
  t.end();
});

t.test('set-id bits stay only with the lossless option', (t) => {
  for (const permissions of ['4755', '6711', 'rwsr-xr-x', '36333', '2755']) {
    const kept = read({ permissions }, { keepSetId: true });
    t.ok((kept.mode & 0o6000) !== 0, permissions);
    t.match(read({ permissions }), { mode: kept.mode & 0o1777, warnings: [{ code: 'SET_ID_DROPPED' }] });
  }
  t.end();
});

t.test('times in every form', (t) => {
  const cases: readonly (readonly [string, bigint])[] = [
    ['2026-11-22 09:32:49 +0000', lastModifiedNs],
    ['2026-11-22 10:32:49 +0100', lastModifiedNs],
    ['2026-11-22 03:02:49 -0630', lastModifiedNs],
    ['1795339969979513011', 1795339969979513011n],
    ['-5', -5n],
  ];
  for (const [modtime, mtimeNs] of cases) t.match(read({ modtime }), { mtimeNs, warnings: [] }, modtime);
  for (const modtime of [
    'yesterday',
    '2026-02-30 00:00:00 +0000',
    '2026-11-22T09:32:49Z',
    '2026-11-22 25:00:00 +0000',
    '',
  ]) {
    t.match(
      read({ modtime }),
      { mtimeNs: lastModifiedNs, warnings: [{ code: 'MTIME_UNREADABLE' }] },
      modtime,
    );
  }
  t.match(read({}), { mtimeNs: lastModifiedNs, warnings: [] }, 'nothing said: Last-Modified');
  t.match(
    read({ modtime: '2020-01-01 00:00:00 +0000', modtime_ns: '1795339969979513011' }),
    { mtimeNs: 1577836800000000000n, warnings: [{ code: 'MTIME_CONFLICT' }] },
    'another tool has set the time since',
  );
  t.match(read({ modtime_ns: 'x' }), { mtimeNs: lastModifiedNs, warnings: [{ key: 'modtime_ns' }] });
  t.end();
});

t.test('owners: numeric metadata, numeric header, map, root, default', (t) => {
  const users = new Map([
    ['0c3ae4a0-1111-2222-3333-444455556666', 4711],
    ['anna@example.org', 4712],
    ['root', 99],
  ]);
  const options: ReadOptions = { defaults: { uid: 65534, gid: 65533 }, users };
  const cases: readonly (readonly [Record<string, string>, string | undefined, number])[] = [
    [{ owner: '7' }, '8', 7],
    [{ posix_owner: '7' }, undefined, 7],
    [{ uid: '7' }, undefined, 7],
    [{ owner: 'root' }, '8', 8],
    [{ owner: 'root' }, undefined, 99],
    [{ owner: 'wheel' }, undefined, 0],
    [{ owner: '$superuser' }, undefined, 0],
    [{ owner: 'x', posix_owner: '9' }, undefined, 9],
    [{}, '0c3ae4a0-1111-2222-3333-444455556666', 4711],
    [{ owner: 'anna@example.org' }, undefined, 4712],
    [{}, '$superuser', 0],
  ];
  for (const [metadata, owner, uid] of cases) {
    const got = read(metadata, options, owner === undefined ? {} : { hierarchical: { owner } });
    t.match(got, { uid, warnings: [] }, `${JSON.stringify(metadata)} ${owner ?? ''}`);
  }
  for (const owner of ['nobody-knows', '-1', '4294967295', '99999999999', '1.5']) {
    t.match(read({ owner }, options), { uid: 65534, warnings: [{ code: 'OWNER_UNKNOWN', value: owner }] });
  }
  t.match(read({ group: '$supergroup' }, options), { gid: 0 });
  t.match(read({ group: 'staff' }, options), {
    gid: 65533,
    warnings: [{ code: 'GROUP_UNKNOWN', key: 'group' }],
  });
  t.match(read({}, options), { uid: 65534, gid: 65533, warnings: [] }, 'nothing said, nothing to warn of');
  t.end();
});

t.test('directories, links and what is neither', (t) => {
  t.equal(read({ hdi_isfolder: 'TRUE' }).kind, 'directory');
  t.equal(read({ HDI_IsFolder: 'true' }).kind, 'directory', 'keys in any case');
  t.equal(read({ hdi_isfolder: 'false' }).kind, 'file');
  t.equal(read({}, {}, { name: 'dir/' }).kind, 'directory');
  t.equal(read({}, {}, { hierarchical: { isDirectory: true } }).kind, 'directory');
  t.equal(read({ ftype: 'LNK' }).kind, 'symlink');
  t.equal(read({ is_symlink: 'true' }).kind, 'symlink');
  for (const key of ['is_char_dev', 'is_block_dev', 'is_fifo', 'is_socket']) {
    t.equal(read({ [key]: 'true' }).kind, 'special', key);
  }
  const conflict = read({ hdi_isfolder: 'true', is_symlink: 'true' });
  t.match(conflict, { kind: 'directory', warnings: [{ code: 'TYPE_CONFLICT' }] });
  t.end();
});

t.test('what AzCopy 10.32.2 writes', (t) => {
  const common = {
    posix_owner: '1001',
    posix_group: '1002',
    modtime: '1795339969979513011',
    posix_nlink: '1',
  };
  t.match(read({ ...common, permissions: '33184', linux_btime: '1' }), {
    kind: 'file',
    uid: 1001,
    gid: 1002,
    mode: 0o640,
    mtimeNs: 1795339969979513011n,
    warnings: [],
  });
  t.match(read({ ...common, permissions: '17389', hdi_isfolder: 'true' }), {
    kind: 'directory',
    mode: 0o1755,
  });
  t.match(
    read({ ...common, permissions: '41471', is_symlink: 'true', is_char_dev: 'true', posix_rdev: '0' }),
    { kind: 'symlink', mode: 0o777, warnings: [] },
    'a plain link, although it says it is a device',
  );
  t.end();
});

t.test('any metadata at all is read without a throw, into attributes a file can have', (t) => {
  const key = fc.constantFrom(
    'owner',
    'Owner',
    'group',
    'permissions',
    'perm',
    'modtime',
    'modtime_ns',
    'hdi_isfolder',
    'ftype',
    'is_symlink',
    'uid',
    'posix_group',
  );
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('true', 'LNK', 'root', '0755', '33188', 'rwxr-xr-x', '2026-11-22 09:32:49 +0000'),
    fc.integer().map(String),
  );
  fc.assert(
    fc.property(fc.dictionary(key, value), (metadata) => {
      const { uid, gid, mode, mtimeNs } = read(metadata);
      return (
        uid >= 0 &&
        uid < 2 ** 32 - 1 &&
        gid >= 0 &&
        gid < 2 ** 32 - 1 &&
        (mode & ~0o1777) === 0 &&
        typeof mtimeNs === 'bigint'
      );
    }),
    timeBox,
  );
  t.end();
});

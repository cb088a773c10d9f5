// The codecs: round trips, decoders that are total on any bytes, and what a real Lustre delivered.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { CopytoolAction, RequestFlag, UserAction, WHOLE_FILE } from '../../native-bindings/constants.js';
import { hasCode } from '../../native-bindings/errors.js';
import { layouts, statArch, statLayouts } from '../../native-bindings/layouts.js';
import type { ActionItem, ActionList, Fid } from '../../native-bindings/lustre.js';
import { formatFid, parseFid } from '../../native-bindings/lustre.js';
import * as structs from '../../native-bindings/structs.js';
import { fixture } from './helpers.js';

/** As fc.record, of plain objects only: those without a prototype are never equal to what is decoded. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });
const u32 = fc.nat(0xffffffff);
const u64 = fc.bigInt(0n, 0xffffffffffffffffn);
const fid = record({ seq: u64, oid: u32, ver: u32 });
const extent = record({ offset: u64, length: u64 });
const data = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const item = record({ action: u32, fid, dfid: fid, extent, cookie: u64, gid: u64, data });
const list = record({
  version: fc.constant(1),
  compoundId: u64,
  flags: u64,
  archiveId: u32,
  fsname: fc.string({ maxLength: 40, unit: 'binary' }).filter((name) => !name.includes('\0')),
  items: fc.array(item, { minLength: 1, maxLength: 60 }),
});
// 200 years around 1970, in nanoseconds.
const time = fc.bigInt(-3_200_000_000_000_000_000n, 6_400_000_000_000_000_000n);
const bytes = fc.uint8Array({ maxLength: 400 }).map((value) => Buffer.from(value));

const asItem = (value: Omit<ActionItem, 'raw'>): ActionItem => ({
  ...value,
  raw: structs.encodeActionItem(value),
});

t.test('a FID, an extent, a state and a current action survive the round trip', (t) => {
  const state = record({
    states: u32,
    archiveId: u32,
    inProgressState: u32,
    inProgressAction: u32,
    inProgressExtent: extent,
  });
  fc.assert(
    fc.property(fid, extent, state, (fid, extent, state) => {
      const buffer = Buffer.alloc(64);
      structs.writeFid(buffer, fid, 3);
      assert.deepEqual(structs.readFid(buffer, 3), fid);
      structs.writeExtent(buffer, extent, 5);
      assert.deepEqual(structs.readExtent(buffer, 5), extent);
      structs.writeHsmState(buffer, state);
      assert.deepEqual(structs.readHsmState(buffer), state);
      const current = { state: state.states, action: state.archiveId, extent };
      structs.writeCurrentAction(buffer, current);
      assert.deepEqual(structs.readCurrentAction(buffer), current);
      assert.deepEqual(parseFid(formatFid(fid)), fid);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('times round trip, before 1970 too, with nanoseconds never negative', (t) => {
  fc.assert(
    fc.property(time, time, time, (atimeNs, mtimeNs, ctimeNs) => {
      const buffer = Buffer.alloc(layouts.ll_futimes_3.size);
      structs.writeFileTimes(buffer, { atimeNs, mtimeNs, ctimeNs });
      assert.deepEqual(structs.readFileTimes(buffer), { atimeNs, mtimeNs, ctimeNs });
      for (const at of [8, 24, 40]) assert.ok(buffer.readBigUInt64LE(at) < 1_000_000_000n);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('struct stat round trips on both processors', (t) => {
  const attributes = record({
    mode: u32,
    uid: u32,
    gid: u32,
    sizeBytes: fc.bigInt(0n, 0x7fffffffffffffffn),
    atimeNs: time,
    mtimeNs: time,
  });
  fc.assert(
    fc.property(attributes, fc.constantFrom('x64' as const, 'arm64' as const), (attributes, arch) => {
      const buffer = Buffer.alloc(statLayouts[arch].size);
      structs.writeStat(buffer, attributes, arch);
      assert.deepEqual(structs.readStat(buffer, arch), attributes);
    }),
    { numRuns: 200 },
  );
  t.equal(statArch('arm64'), 'arm64');
  t.throws(() => statArch('ppc64'), { code: 'ENOTSUP', message: /ppc64/ });
  t.end();
});

t.test('a request round trips; one whose counts do not fit is refused', (t) => {
  fc.assert(
    fc.property(
      u32,
      u32,
      u64,
      fc.array(fid, { maxLength: 60 }),
      data,
      (action, archiveId, flags, fids, data) => {
        const request = { action, archiveId, flags, fids, data };
        const encoded = structs.encodeRequest(request);
        assert.deepEqual(structs.decodeRequest(encoded), request);
        if (encoded.length > 24) {
          assert.throws(() => structs.decodeRequest(encoded.subarray(0, -1)), { code: 'EPROTO' });
        }
      },
    ),
    { numRuns: 100 },
  );
  const plain = structs.encodeRequest({ action: UserAction.ARCHIVE, archiveId: 1, fids: [fidOf(1n)] });
  t.equal(plain.length, 24 + 32);
  t.equal(plain.readBigUInt64LE(24 + 24), WHOLE_FILE, 'an item means the whole file');
  fc.assert(fc.property(bytes, (bytes) => onlyEproto(() => structs.decodeRequest(bytes))));
  t.end();
});

t.test('an action list round trips', (t) => {
  fc.assert(
    fc.property(list, (value) => {
      const decoded = structs.decodeActionList(structs.encodeActionList(value));
      assert.deepEqual(decoded, { ...value, items: value.items.map(asItem) });
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('an item round trips, as the journal keeps it', (t) => {
  fc.assert(
    fc.property(item, (value) => {
      assert.deepEqual(structs.decodeActionItem(structs.encodeActionItem(value)), asItem(value));
    }),
    { numRuns: 100 },
  );
  fc.assert(fc.property(bytes, (bytes) => onlyEproto(() => structs.decodeActionItem(bytes))));
  t.end();
});

t.test('decoded items are copies: the receive buffer may be overwritten', (t) => {
  fc.assert(
    fc.property(list, (value) => {
      const buffer = structs.encodeActionList(value);
      const decoded = structs.decodeActionList(buffer);
      buffer.fill(0xaa);
      assert.deepEqual(decoded.items, value.items.map(asItem));
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('any bytes decode to good items and a reason, or to EPROTO', (t) => {
  fc.assert(
    fc.property(bytes, (bytes) =>
      onlyEproto(() => {
        checkList(bytes, structs.decodeActionList(bytes));
      }),
    ),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('a list with any bytes changed or cut off decodes to good items and a reason', (t) => {
  const change = fc.tuple(fc.nat(2000), fc.nat(255));
  const mutated = fc.tuple(list, fc.array(change, { maxLength: 8 }), fc.nat(2000));
  fc.assert(
    fc.property(mutated, ([value, changes, cut]) => {
      const whole = structs.encodeActionList(value);
      for (const [at, byte] of changes) whole[at % whole.length] = byte;
      const buffer = cut % 3 === 0 ? whole : whole.subarray(0, cut);
      return onlyEproto(() => {
        checkList(buffer, structs.decodeActionList(buffer));
      });
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('faults of a list are named, and the items before them are kept', (t) => {
  const first = 40;
  const itemOf = (cookie: bigint): Omit<ActionItem, 'raw'> => ({
    action: CopytoolAction.ARCHIVE,
    fid: fidOf(cookie),
    dfid: fidOf(cookie),
    extent: { offset: 0n, length: WHOLE_FILE },
    cookie,
    gid: 0n,
    data: Buffer.from('12345678'),
  });
  const good = (): Buffer =>
    structs.encodeActionList({
      version: 1,
      compoundId: 9n,
      flags: 0n,
      archiveId: 2,
      fsname: 'lustre',
      items: [itemOf(1n), itemOf(2n), itemOf(3n)],
    });
  const decode = (change: (buffer: Buffer) => unknown): ActionList => {
    const buffer = good();
    const changed = change(buffer);
    return structs.decodeActionList(Buffer.isBuffer(changed) ? changed : buffer);
  };
  const cases: [string, (buffer: Buffer) => unknown, number, RegExp][] = [
    ['a short item', (b) => b.writeUInt32LE(71, first + 80), 1, /item 2 of 3.*71 bytes, fewer than 72/],
    ['an item of length 0', (b) => b.writeUInt32LE(0, first + 80), 1, /item 2 of 3.*0 bytes/],
    [
      'an item beyond the buffer',
      (b) => b.writeUInt32LE(81, first + 160),
      2,
      /item 3 of 3.*81 bytes: too many/,
    ],
    ['a huge item', (b) => b.writeUInt32LE(0xffffffff, first + 80), 1, /item 2 of 3.*4294967295 bytes/],
    ['a count that does not fit', (b) => b.writeUInt32LE(0xffffffff, 4), 3, /item 4 of 4294967295.*not fit/],
    ['a list cut off', (b) => b.subarray(0, first + 200), 2, /item 3 of 3.*not fit/],
    ['an unknown version', (b) => b.writeUInt32LE(2, 0), 0, /version 2/],
    ['a name without an end', (b) => b.fill(0x61, 32), 0, /no end/],
    ['no items', (b) => b.writeUInt32LE(0, 4), 0, /no items/],
  ];
  for (const [name, change, kept, reason] of cases) {
    const decoded = decode(change);
    t.equal(decoded.items.length, kept, `${name}: items kept`);
    t.match(decoded.malformed, reason, name);
    t.equal(decoded.archiveId, 2, `${name}: the header is there`);
  }
  t.throws(() => decode((b) => b.subarray(0, 31)), { code: 'EPROTO', message: /31 bytes/ });
  t.throws(() => decode(() => Buffer.alloc(0)), { code: 'EPROTO' });
  t.end();
});

t.test('what a real Lustre delivered decodes to what it was', (t) => {
  const read = (name: string): ActionList =>
    structs.decodeActionList(readFileSync(fixture(`recorded/${name}.bin`)));
  const wholeFile = { offset: 0n, length: WHOLE_FILE };
  const head = { version: 1, archiveId: 2, fsname: 'lustre', malformed: undefined };

  const six = read('archive-6-items-with-data');
  t.match(six, head);
  t.equal(six.items.length, 6);
  t.equal(new Set(six.items.map((item) => item.cookie)).size, 6, 'each has its own cookie');
  for (const item of six.items) {
    t.equal(item.data.toString(), '{"name":"é%20x"}');
    t.equal(item.raw.length, 89);
    t.match(item, { action: CopytoolAction.ARCHIVE, dfid: item.fid, extent: wholeFile });
    t.same(structs.decodeActionItem(item.raw), item);
    t.same(structs.encodeActionItem(item), item.raw, 'and encodes to the same bytes');
  }
  t.same(structs.encodeActionList(six), readFileSync(fixture('recorded/archive-6-items-with-data.bin')));

  const fid = { seq: 0x200000401n, oid: 0x1af, ver: 0 };
  const only = (name: string): ActionItem => {
    const list = read(name);
    t.match(list, head, name);
    const [item] = list.items;
    if (!item || list.items.length !== 1) throw new Error(`${name} has ${list.items.length} items`);
    t.match(item, { dfid: item.fid, extent: wholeFile, gid: 0n }, name);
    t.equal(item.data.length, 0, name);
    return item;
  };
  t.match(only('archive-1-item'), { action: CopytoolAction.ARCHIVE, fid, cookie: 0x6b02b3d5n });
  t.match(only('cancel'), { action: CopytoolAction.CANCEL, fid, cookie: 0x6b02b3d5n });
  t.match(only('remove'), { action: CopytoolAction.REMOVE });
  t.match(only('restore-blocking'), { action: CopytoolAction.RESTORE });
  t.match(only('restore-explicit'), { action: CopytoolAction.RESTORE });
  t.equal(read('restore-blocking').flags, RequestFlag.BLOCKING);
  t.equal(read('restore-explicit').flags, 0n);
  t.end();
});

function fidOf(seq: bigint): Fid {
  return { seq, oid: 1, ver: 0 };
}

/** What must hold of every list that was decoded from any bytes. */
function checkList(buffer: Buffer, list: ActionList): void {
  const total = list.items.reduce((sum, item) => sum + item.raw.length, 0);
  if (total > buffer.length) throw new Error('more bytes decoded than there were');
  for (const item of list.items) {
    if (item.raw.length < 72 || item.raw.readUInt32LE(0) !== item.raw.length) throw new Error('a bad item');
  }
  const count = buffer.readUInt32LE(4);
  const whole = list.items.length === count && count > 0;
  if (whole === (list.malformed !== undefined)) throw new Error('malformed and the items disagree');
}

/** Runs it; false when what it throws is not LhsmError EPROTO. */
function onlyEproto(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (hasCode(error, 'EPROTO')) return true;
    throw error;
  }
}

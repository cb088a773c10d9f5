// Names of blobs: there and back for every name that can be one, a clear error for every other.
import fc from 'fast-check';
import t from 'tap';
import {
  MAX_BLOB_NAME_CHARS,
  MAX_COMPONENT_BYTES,
  alternativeName,
  blobNameOfFid,
  blobNameOfPath,
  blobUrl,
  formatBlobXattr,
  isContainerName,
  nameOfBlobUrl,
  parentPaths,
  parseBlobXattr,
  pathOfBlobName,
} from '../../../daemon/blobs/names.js';
import type { Fid } from '../../../native-bindings/lustre.js';

const timeBox = { interruptAfterTimeLimit: 2000, numRuns: 500 };
const fid: Fid = { seq: 0x200000401n, oid: 0x1af, ver: 0 };

const component = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..');
const path = fc.array(component, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
const anyFid = fc.record({
  seq: fc.bigInt(0n, 2n ** 64n - 1n),
  oid: fc.integer({ min: 0, max: 0xffff_ffff }),
  ver: fc.integer({ min: 0, max: 0xffff_ffff }),
});

/** The names that blob-conventions of the wild are made of. */
const awkward = [
  'a%b',
  '100%25',
  'what?',
  'nr#1',
  'two words',
  'back\\slash',
  'dots...',
  'dir./x.',
  '😀/naïve ☃',
  'a+b&c=d;e,f@g:h!$\'()*[]"<>|^`{}~',
  'tab\tand\nnewline',
  '-',
  ' leading',
  'trailing ',
  'az:',
  '%5C',
  '%255C\\%5C%2525',
  '...',
  'a/.../b..',
  '%2E',
  'x%2E.%252E',
  'a%2Eb.c',
  '%0A\n%250A',
  'delete\x7f',
];

/** Names made of what escapes are made of. */
const tricky = fc
  .array(fc.constantFrom('%', '2', '5', 'C', 'E', '0', 'A', '\\', '.', '/', '\n', 'x', '%2E', '%25'), {
    minLength: 1,
  })
  .map((parts) => parts.join(''))
  .filter((text) => text.split('/').every((part) => !['', '.', '..'].includes(part)));

/** Whether the service keeps the name as it is. */
function safe(name: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what this is about
  return !/[\\\u0000-\u001f\u007f]|\.(?:\/|$)/.test(name);
}

t.test('a path and its blob name, there and back', (t) => {
  fc.assert(
    fc.property(path, fc.constantFrom('', 'p/', 'deep/prefix/'), (text, prefix) => {
      const name = blobNameOfPath(prefix, Buffer.from(text));
      return safe(name) && pathOfBlobName(prefix, name).toString() === text;
    }),
    timeBox,
  );
  for (const text of awkward)
    t.equal(pathOfBlobName('p/', blobNameOfPath('p/', Buffer.from(text))).toString(), text);
  t.equal(blobNameOfPath('', Buffer.from('a\\b')), 'a%5Cb', 'the service would make a slash of it');
  fc.assert(
    fc.property(tricky, (text) => {
      const name = blobNameOfPath('', Buffer.from(text));
      return safe(name) && pathOfBlobName('', name).toString() === text;
    }),
    timeBox,
  );
  for (const [text, name] of [
    ['data.', 'data%2E'],
    ['dir./x', 'dir%2E/x'],
    ['...', '%2E%2E%2E'],
    ['a.b', 'a.b'],
    ['a%2Eb', 'a%2Eb'],
    ['a%2E', 'a%252E'],
    ['a\nb\x7f', 'a%0Ab%7F'],
    ['%00', '%00'],
  ] as const)
    t.equal(blobNameOfPath('', Buffer.from(text)), name, 'what the service would drop or refuse');
  t.equal(pathOfBlobName('p/', 'p/dir/').toString(), 'dir', "other tools' directory stubs");
  t.end();
});

t.test('each name that cannot be one has its error', (t) => {
  const cases: readonly (readonly [string, Buffer, string, number])[] = [
    ['not UTF-8', Buffer.from([0x61, 0xff, 0x62]), 'NAME_NOT_UTF8', 84],
    ['half a character', Buffer.from('é').subarray(0, 1), 'NAME_NOT_UTF8', 84],
    ['a surrogate in UTF-8', Buffer.from([0xed, 0xa0, 0x80]), 'NAME_NOT_UTF8', 84],
    ['more than 1,024 characters', Buffer.from(`${'x'.repeat(204)}/`.repeat(5) + 'x'), 'NAME_TOO_LONG', 36],
    ['a component of 256 bytes', Buffer.from(`a/${'é'.repeat(128)}`), 'COMPONENT_TOO_LONG', 36],
    ['a path of 4,097 bytes', Buffer.from('é/'.repeat(1365) + 'xx'), 'PATH_TOO_LONG', 36],
    ['more than 254 segments', Buffer.from(`${'a/'.repeat(254)}a`), 'NAME_TOO_DEEP', 36],
    ['a component .', Buffer.from('a/./b'), 'NAME_DOT_COMPONENT', 22],
    ['a component ..', Buffer.from('../b'), 'NAME_DOT_COMPONENT', 22],
    ['an empty component', Buffer.from('a//b'), 'NAME_EMPTY_COMPONENT', 22],
    ['a slash in front', Buffer.from('/a'), 'NAME_EMPTY_COMPONENT', 22],
    ['nothing', Buffer.alloc(0), 'NAME_EMPTY_COMPONENT', 22],
    ['a NUL', Buffer.from('a\0b'), 'NAME_NUL', 22],
  ];
  for (const [what, bytes, code, errno] of cases) {
    t.throws(() => blobNameOfPath('', bytes), { code, errno }, what);
  }
  t.throws(
    () => blobNameOfPath('p/'.repeat(510), Buffer.from('abcdef')),
    { code: 'NAME_TOO_LONG' },
    'the prefix counts',
  );
  t.throws(() => blobNameOfPath('', Buffer.from([0x61, 0xff])), {
    message: /"a\\\\xff"/,
    hint: /naming = "fid"/,
  });
  t.doesNotThrow(() => blobNameOfPath('', Buffer.from('x'.repeat(255))), '255 bytes are fine');
  t.end();
});

t.test('each foreign blob name that no file can have has its error', (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['elsewhere/a', 'NAME_OUTSIDE_PREFIX'],
    ['p/', 'NAME_EMPTY_COMPONENT'],
    ['p//a', 'NAME_EMPTY_COMPONENT'],
    ['p/a//', 'NAME_EMPTY_COMPONENT'],
    ['p/../a', 'NAME_DOT_COMPONENT'],
    ['p/a\0', 'NAME_NUL'],
    [`p/${'x'.repeat(256)}`, 'COMPONENT_TOO_LONG'],
    ['p/\ud800', 'NAME_NOT_UTF8'],
  ];
  for (const [name, code] of cases)
    t.throws(() => pathOfBlobName('p/', name), { code }, JSON.stringify(name));
  t.end();
});

t.test('names by FID spread over 65,536 folders and hold nothing to encode', (t) => {
  t.equal(blobNameOfFid('p/', fid), 'p/01af/0x200000401:0x1af:0x0');
  fc.assert(
    fc.property(anyFid, (any) =>
      /^[0-9a-f]{4}\/0x[0-9a-f]+:0x[0-9a-f]+:0x[0-9a-f]+$/.test(blobNameOfFid('', any)),
    ),
    timeBox,
  );
  t.end();
});

t.test('the directories above a path', (t) => {
  t.same(parentPaths(Buffer.from('a/b/c')).map(String), ['a', 'a/b']);
  t.same(parentPaths(Buffer.from('file')), []);
  t.end();
});

t.test('another name is as long as names may be, and its own for each file', (t) => {
  t.equal(alternativeName('dir/data.bin', fid), 'dir/data.bin.lhsm-200000401-1af-0');
  fc.assert(
    fc.property(path, anyFid, anyFid, (text, one, other) => {
      const name = text.slice(0, MAX_BLOB_NAME_CHARS);
      const made = alternativeName(name, one);
      const same = one.seq === other.seq && one.oid === other.oid && one.ver === other.ver;
      return (
        made.length <= MAX_BLOB_NAME_CHARS &&
        made !== name &&
        Buffer.byteLength(made.slice(made.lastIndexOf('/') + 1)) <= MAX_COMPONENT_BYTES &&
        (same || made !== alternativeName(name, other))
      );
    }),
    timeBox,
  );
  const longest = `${`${'d'.repeat(200)}/`.repeat(5)}${'😀'.repeat(9)}x`;
  t.equal(longest.length, 1024);
  t.ok(alternativeName(longest, fid).length <= 1024);
  t.end();
});

t.test('the xattr: ours, and what the lemur copytool wrote', (t) => {
  const here = { container: 'copies', prefix: 'p/' };
  fc.assert(
    fc.property(path, (text) => {
      const reference = { container: 'copies', name: text.slice(0, 1024) };
      const { container, name } = parseBlobXattr(formatBlobXattr(reference), here);
      return container === reference.container && name === reference.name;
    }),
    timeBox,
  );
  t.same(parseBlobXattr(Buffer.from('az://other/a%20b c'), here), { container: 'other', name: 'a%20b c' });
  t.same(
    parseBlobXattr(Buffer.from('a/b c'), here),
    { container: 'copies', name: 'p/a/b c' },
    'relative to the prefix',
  );
  t.same(parseBlobXattr(Buffer.from('a/b\0'), here), { container: 'copies', name: 'p/a/b' });
  const long = { container: 'copies', name: 'é'.repeat(1024) };
  t.same(parseBlobXattr(formatBlobXattr(long), here), long, 'longer than 256 bytes');
  for (const bad of [
    '',
    '\0',
    'az://copies',
    'az://copies/',
    'az://UPPER/x',
    's3://bucket/x',
    'az://copies/a/../b',
  ]) {
    t.throws(() => parseBlobXattr(Buffer.from(bad), here), { code: 'BLOB_XATTR_INVALID', errno: 22 }, bad);
  }
  t.throws(() => parseBlobXattr(Buffer.from([0xff]), here), { code: 'BLOB_XATTR_INVALID' });
  t.throws(() => parseBlobXattr(Buffer.from(`az://copies/${'x'.repeat(1025)}`), here), {
    code: 'BLOB_XATTR_INVALID',
  });
  t.end();
});

t.test('parsing an xattr of any bytes ends in a reference or in our error', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        return parseBlobXattr(Buffer.from(bytes), { container: 'copies', prefix: '' }).name !== '';
      } catch (error) {
        return (error as { code?: string }).code === 'BLOB_XATTR_INVALID';
      }
    }),
    timeBox,
  );
  t.end();
});

t.test('a URL gives its blob name back, and is one that URL parsers leave alone', (t) => {
  const base = 'https://account.blob.core.windows.net/copies';
  fc.assert(
    fc.property(path, (text) => {
      const url = blobUrl(base, text);
      return nameOfBlobUrl(base, url) === text && new URL(url).href === url;
    }),
    timeBox,
  );
  for (const text of awkward) t.equal(nameOfBlobUrl(base, new URL(blobUrl(base, text)).href), text);
  t.end();
});

t.test('container names', (t) => {
  for (const good of ['abc', 'a-b-c', '$root', '$web', '0'.repeat(63)]) t.ok(isContainerName(good), good);
  for (const bad of ['ab', 'A-b', 'a--b', '-ab', 'ab-', '', '0'.repeat(64), 'a_b'])
    t.notOk(isContainerName(bad), bad);
  t.end();
});

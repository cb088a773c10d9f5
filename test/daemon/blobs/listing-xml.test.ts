// Answers of List Blobs, byte by byte: what XML may hold, what keys may be called, and what is no listing.
import fc from 'fast-check';
import t from 'tap';
import { readListing } from '../../../daemon/blobs/list-blobs.js';
import { listedBlob } from '../../../daemon/blobs/list-item.js';
import type { ListedBlob } from '../../../daemon/blobs/listing.js';

interface Page {
  readonly blobs: readonly ListedBlob[];
  readonly prefixes: readonly string[];
  readonly next: string;
}

async function* inPieces(bytes: Buffer, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const length of lengths) {
    yield await Promise.resolve(bytes.subarray(at, at + length));
    at += length;
  }
  yield bytes.subarray(at);
}

async function read(text: string | Buffer, lengths: readonly number[] = []): Promise<Page> {
  const blobs: ListedBlob[] = [];
  const prefixes: string[] = [];
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const next = await readListing(inPieces(bytes, lengths), (entry) => {
    const blob = listedBlob(entry);
    if (entry.isPrefix) prefixes.push(entry.name);
    else if (blob) blobs.push(blob);
  });
  return { blobs, prefixes, next };
}

const properties =
  '<Properties><Last-Modified>Sun, 22 Nov 2026 09:32:49 GMT</Last-Modified><Etag>0x8D1</Etag><Content-Length>5</Content-Length></Properties>';

function listing(inside: string, after = '<NextMarker />'): string {
  return `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="c"><Blobs>${inside}</Blobs>${after}</EnumerationResults>`;
}

const blob = (name: string, metadata = ''): string =>
  `<Blob><Name>${name}</Name>${properties}<Metadata>${metadata}</Metadata></Blob>`;

t.test('keys that mean something to JavaScript', async (t) => {
  const keys = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', '__defineGetter__'];
  const inside = keys.map((key) => `<${key}>of ${key}</${key}>`).join('');
  const { blobs } = await read(listing(blob('a', inside) + blob('b', '<owner>1</owner>')));
  t.same(
    Object.entries(blobs[0]?.metadata ?? {}),
    keys.map((key) => [key.toLowerCase(), `of ${key}`]),
  );
  t.same(Object.keys(blobs[1]?.metadata ?? {}), ['owner']);
  t.equal(blobs[1]?.metadata?.['constructor'], undefined);
  t.equal(({} as Record<string, unknown>)['owner'], undefined, 'no prototype was touched');
});

t.test('references, character data, line ends, comments', async (t) => {
  const cases = [
    ['a&#xD;&#10;b', 'a\r\nb'],
    ['&#x1F600;&#128512;', '😀😀'],
    ['&lt;&gt;&amp;&quot;&apos;', '<>&"\''],
    ['&amp;lt;', '&lt;'],
    ['<![CDATA[<i>&amp;]]>x<![CDATA[]]]]><![CDATA[>]]>', '<i>&amp;x]]>'],
    ['a<!-- <Name>no</Name> -->b', 'ab'],
    ['a\r\nb', 'a\nb'],
    ['𝒳é', '𝒳é'],
  ] as const;
  const text = listing(cases.map(([xml]) => blob(xml, `<k>${xml}</k>`)).join(''));
  const expected = cases.map(([, name]) => [name, name]);
  for (const size of [1, 2, 3, 5, 7, text.length]) {
    const lengths = Array.from({ length: Math.floor(text.length / size) }, () => size);
    const { blobs } = await read(`\ufeff${text}`, lengths);
    t.same(
      blobs.map(({ name, metadata }) => [name, metadata?.['k']]),
      expected,
      `pieces of ${size}`,
    );
  }
});

t.test('elements that stand elsewhere, or that nobody knows', async (t) => {
  const strange = `<Tags><TagSet><Tag><Key>Name</Key><Value>v</Value></Tag></TagSet></Tags><OrMetadata><or-x>y</or-x></OrMetadata><Name Encoded="true">a%2Fb</Name>`;
  const page = await read(
    listing(
      `<Blob>${strange}${properties}</Blob><BlobPrefix><Name>p/</Name></BlobPrefix><Future><Name>x</Name></Future>`,
      '<Name>z</Name><NextMarker>m&#33;</NextMarker>',
    ),
  );
  t.same(
    page.blobs.map(({ name, metadata }) => [name, metadata]),
    [['a/b', {}]],
  );
  t.same(page.prefixes, ['p/']);
  t.equal(page.next, 'm!');
});

t.test('what is no listing', async (t) => {
  const whole = listing(blob('a'));
  const bad: Readonly<Record<string, string | Buffer>> = {
    empty: '',
    'of something else': '<html><body>Sign in</body></html>',
    'without a list': '<EnumerationResults><NextMarker /></EnumerationResults>',
    'with something behind it': `${whole}<x/>`,
    'an unknown entity': listing(blob('&nbsp;')),
    'a character that XML does not hold': listing(blob('&#1;')),
    'half a surrogate pair': listing(blob('&#xD800;')),
    'crossed tags': listing('<Blob><Name>a</Blob></Name>'),
    'a bare ampersand': listing(blob('a & b')),
    'an entity of its own': `<!DOCTYPE x [<!ENTITY e "e">]>${whole}`,
    'no name': listing(`<Blob>${properties}</Blob>`),
    'an empty name': listing(blob('')),
    'an element in a name': listing(blob('a<b/>c')),
    'a wrong escape': listing(`<Blob><Name Encoded="true">%F</Name>${properties}</Blob>`),
    'no UTF-8': Buffer.from(listing(blob('\xe9')), 'latin1'),
  };
  for (const [what, text] of Object.entries(bad))
    await t.rejects(read(text), { code: 'BAD_ANSWER', retryable: true, op: 'List Blobs' }, what);
});

t.test('an answer cut off anywhere', async (t) => {
  const whole = Buffer.from(listing(blob('é😀', '<k>v</k>')));
  for (let length = 0; length < whole.length; length += 1)
    await t.rejects(read(whole.subarray(0, length)), { code: 'BAD_ANSWER', retryable: true });
});

t.test('others get their turn while a large page is read', async (t) => {
  const names = Array.from({ length: 5000 }, (_, i) => `some/directory/with/file-${i}`);
  const bytes = Buffer.from(listing(names.map((name) => blob(name, '<owner>1001</owner>')).join('')));
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  // In one piece, as a proxy or a fast link may give it.
  const { blobs } = await read(bytes);
  isOver = true;
  t.equal(blobs.length, 5000);
  t.ok(turns >= Math.floor(bytes.length / 65_536), `${turns} turns for ${bytes.length} bytes`);
});

/** Texts that XML can hold. */
const xmlText = fc
  .string({ unit: 'binary', maxLength: 20 })
  .map((text) => text.replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '?'));
const spelling = fc.constantFrom('plain', 'decimal', 'hex', 'cdata');

function spelled(text: string, how: string): string {
  if (how === 'cdata' && !text.includes(']]>') && !text.includes('\r')) return `<![CDATA[${text}]]>`;
  return Array.from(text)
    .map((char) => {
      const code = char.codePointAt(0) ?? 0;
      if (how === 'decimal') return `&#${code};`;
      if (how === 'hex' || '&<>\r'.includes(char)) return `&#x${code.toString(16)};`;
      return char;
    })
    .join('');
}

const item = fc.record({
  name: xmlText.filter((name) => name !== ''),
  how: spelling,
  metadata: fc.dictionary(fc.stringMatching(/^[a-z_][a-z0-9_]{0,12}$/), xmlText, { maxKeys: 4 }),
});

t.test('any names and values, however spelled and cut', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(item, { maxLength: 8 }),
      fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 }),
      async (items, lengths) => {
        const inside = items.map(({ name, how, metadata }) => {
          const values = Object.entries(metadata).map(
            ([key, value]) => `<${key}>${spelled(value, how)}</${key}>`,
          );
          return blob(spelled(name, how), values.join(''));
        });
        const { blobs } = await read(listing(inside.join('')), lengths);
        t.same(
          blobs.map(({ name, metadata }) => [name, Object.entries(metadata ?? {}).sort()]),
          items.map(({ name, metadata }) => [name, Object.entries(metadata).sort()]),
        );
      },
    ),
    { interruptAfterTimeLimit: 2000 },
  );
});

t.test('any damage gives a page, or an error that says so', async (t) => {
  const whole = Buffer.from(listing(blob('a&amp;b', '<k>v</k>') + blob('é', '<l><![CDATA[x]]></l>')));
  const damage = fc.record({
    at: fc.nat(whole.length - 1),
    drop: fc.nat(6),
    put: fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constantFrom('<', '>', '&', '</Blob>', ']]>', '<!--')),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
      let bytes = whole;
      for (const { at, drop, put } of damages)
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(put as string), bytes.subarray(at + drop)]);
      try {
        const { blobs } = await read(bytes);
        t.ok(blobs.every(({ name }) => name !== ''));
      } catch (error) {
        t.match(error, { code: 'BAD_ANSWER', retryable: true });
      }
    }),
    { numRuns: 500, interruptAfterTimeLimit: 2000 },
  );
});

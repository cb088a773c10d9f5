// Heads of answers: what is right is read, whole or in pieces; whatever is odd is refused.
import t from 'tap';
import {
  BadAnswer,
  MAX_HEAD_BYTES,
  parseHead,
  type ParsedHead,
} from '../../../../daemon/transfer/worker/response-parser.js';

const parse = (text: string): ParsedHead | undefined => parseHead(Buffer.from(text, 'latin1'));
const ok = (...lines: readonly string[]): string => `HTTP/1.1 200 OK\r\n${lines.join('\r\n')}\r\n\r\n`;

t.test('a head of a blob service', (t) => {
  const head = [
    'HTTP/1.1 206 Partial Content',
    'Content-Length: 1024',
    'Content-Range: bytes 0-1023/4096',
    'ETag: "0x8D"',
    'X-Ms-Meta-Owner:\t 17 \t',
    'Server: Windows-Azure-Blob/1.0',
    'Set-Cookie: nobody reads it',
    'x-ms-access-tier:',
    'x-ms-request-id: only of failures',
  ].join('\r\n');
  const parsed = parse(`${head}\r\n\r\nbody`);
  t.strictSame(parsed, {
    head: {
      status: 206,
      headers: {
        'content-range': 'bytes 0-1023/4096',
        etag: '"0x8D"',
        'x-ms-meta-owner': '17',
        'x-ms-access-tier': '',
      },
      lengthBytes: 1024,
      framing: { kind: 'length', bytes: 1024 },
      keepAlive: true,
    },
    bytes: head.length + 4,
  });
  t.end();
});

t.test('split at every byte, it is complete only at its end, and then the same', (t) => {
  const heads = [
    ok('Content-Length: 5', 'ETag: "1"', 'Connection: keep-alive'),
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 \r\nx: y\r\n\r\n${ok('Transfer-Encoding: chunked')}`,
  ];
  for (const text of heads) {
    const whole = parse(`${text}hello`);
    for (let cut = 0; cut < text.length; cut += 1) {
      if (parse(text.slice(0, cut)) !== undefined) t.fail(`complete after ${cut} bytes`);
    }
    t.strictSame(parse(text), whole);
    t.equal(whole?.bytes, text.length);
  }
  t.end();
});

t.test('how the body ends, and whether the connection lives on', (t) => {
  const cases: readonly (readonly [string, Partial<ParsedHead['head']>])[] = [
    [ok('content-length: 0'), { framing: { kind: 'length', bytes: 0 }, keepAlive: true }],
    [ok('content-length: 7', 'CONTENT-LENGTH: 7'), { lengthBytes: 7 }],
    [ok('transfer-encoding: Chunked'), { framing: { kind: 'chunked' }, lengthBytes: undefined }],
    [ok('content-length: 1', 'connection: close'), { keepAlive: false }],
    [ok('content-length: 1', 'Connection: foo , CLOSE'), { keepAlive: false }],
    [ok('content-length: 1', 'connection: closed, not-close'), { keepAlive: true }],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n', { keepAlive: false }],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n', { keepAlive: false }],
    ['HTTP/1.1 204 No Content\r\n\r\n', { framing: { kind: 'length', bytes: 0 } }],
    ['HTTP/1.1 304\r\ncontent-length: 10\r\n\r\n', { framing: { kind: 'length', bytes: 0 } }],
    ['HTTP/1.1 503 \xe9\t\r\ncontent-length: 10\r\n\r\n', { status: 503, lengthBytes: 10 }],
  ];
  for (const [text, head] of cases) t.match(parse(text)?.head, head, JSON.stringify(text));
  t.end();
});

t.test('odd heads are refused', (t) => {
  const odd: Readonly<Record<string, string>> = {
    '101': 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n',
    'a folded header': ok('x-ms-meta-a: 1', ' 2', 'content-length: 1'),
    'bare LF between headers': 'HTTP/1.1 200 OK\r\ncontent-length: 1\netag: 1\r\n\r\n',
    'bare CR in a value': ok('etag: a\rb', 'content-length: 1'),
    'a NUL in a value': ok('etag: a\0b', 'content-length: 1'),
    'DEL in a value': ok('etag: a\x7fb', 'content-length: 1'),
    'a control character in the reason': 'HTTP/1.1 200 O\x01K\r\ncontent-length: 1\r\n\r\n',
    'a blank before the colon': ok('content-length : 1'),
    'no colon': ok('content-length 1'),
    'no name': ok(': 1', 'content-length: 1'),
    'a name in UTF-8': ok('\xc3\xa9: 1', 'content-length: 1'),
    'two lengths': ok('content-length: 1', 'content-length: 2'),
    'a length twice, worded differently': ok('content-length: 1', 'content-length: 01'),
    'a list of lengths': ok('content-length: 1, 1'),
    'a negative length': ok('content-length: -1'),
    'a length with a sign': ok('content-length: +1'),
    'a hexadecimal length': ok('content-length: 0x10'),
    'an empty length': ok('content-length:'),
    'a length beyond all files': ok('content-length: 1000000000000000'),
    'a length and chunks': ok('content-length: 1', 'transfer-encoding: chunked'),
    'an unknown transfer encoding': ok('transfer-encoding: gzip'),
    'two transfer encodings in one': ok('transfer-encoding: gzip, chunked'),
    'two transfer encodings': ok('transfer-encoding: chunked', 'transfer-encoding: chunked'),
    'neither a length nor chunks': ok('etag: 1'),
    'no headers at all': 'HTTP/1.1 200 OK\r\n\r\n',
    'two ETags': ok('etag: "1"', 'etag: "2"', 'content-length: 1'),
    'two values of one metadata key': ok('x-ms-meta-a: 1', 'X-MS-META-A: 1', 'content-length: 1'),
    'HTTP/1.2': 'HTTP/1.2 200 OK\r\ncontent-length: 1\r\n\r\n',
    'a status of two digits': 'HTTP/1.1 20 OK\r\ncontent-length: 1\r\n\r\n',
    'a status of four digits': 'HTTP/1.1 2000 OK\r\ncontent-length: 1\r\n\r\n',
    'a status that does not exist': 'HTTP/1.1 600 OK\r\ncontent-length: 1\r\n\r\n',
    'a blank before the status line': ' HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n',
    'an empty line before it': '\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n',
  };
  for (const [what, text] of Object.entries(odd)) t.throws(() => parse(text), BadAnswer, what);
  t.end();
});

t.test('what speaks another protocol is told by its first bytes, without waiting for more', (t) => {
  const greetings = [
    'SSH-2.0-OpenSSH\r\n',
    '220 ftp\r\n',
    '\x15\x03\x01\x00\x02\x02\x16',
    'HTTP/2',
    'http/1.1 ',
  ];
  for (const greeting of greetings) t.throws(() => parse(greeting), BadAnswer, greeting);
  t.throws(() => parse(`HTTP/1.1 100 Continue\r\n\r\n+OK`), BadAnswer, 'behind a 1xx, too');
  t.equal(parse(''), undefined);
  t.equal(parse('HTTP/1.'), undefined);
  t.end();
});

t.test('floods of headers are refused as soon as they are too many', (t) => {
  const flood = (bytes: number): string => `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(bytes)}`;
  t.equal(parse(flood(MAX_HEAD_BYTES - 40)), undefined, 'may still end');
  t.throws(() => parse(flood(MAX_HEAD_BYTES)), /headers of more than/);
  t.throws(
    () => parse(`${flood(MAX_HEAD_BYTES)}\r\n\r\n`),
    /headers of more than/,
    'also when it has an end',
  );
  const many = (count: number): string => ok('content-length: 1', ...Array<string>(count).fill('a: b'));
  t.ok(parse(many(999)));
  t.throws(() => parse(many(1000)), /more than 1000 headers/);
  t.end();
});

t.test('interim answers without end are refused, whatever comes behind them', (t) => {
  const interim = 'HTTP/1.1 100 Continue\r\n\r\n';
  t.ok(parse(interim.repeat(16) + ok('content-length: 1')));
  t.throws(() => parse(interim.repeat(17)), /interim answers without end/);
  t.throws(() => parse(interim.repeat(17) + ok('content-length: 1')), BadAnswer);
  t.end();
});

t.test('a long line that is no header is refused in no time', (t) => {
  const blanks = ' '.repeat(MAX_HEAD_BYTES - 100);
  const long = [`x:${blanks}\x01`, `connection: ${blanks}x\x01`, `connection: ${',\t'.repeat(10_000)}`];
  const began = performance.now();
  // Going over the blanks again for each of them would take half a second for one line.
  for (let round = 0; round < 10; round += 1)
    for (const line of long) t.throws(() => parse(ok(line)), BadAnswer);
  t.ok(performance.now() - began < 2000, `${performance.now() - began} ms`);
  t.end();
});

t.test('names that mean something to JavaScript are plain names', (t) => {
  const head = parse(
    ok('__proto__: x', 'constructor: y', 'x-ms-meta-__proto__: z', 'content-length: 1'),
  )?.head;
  t.strictSame({ ...head?.headers }, { 'x-ms-meta-__proto__': 'z' });
  t.end();
});

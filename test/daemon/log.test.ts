import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import type { LogConfig } from '../../daemon/config/config.js';
import { createLogger, type LogOptions } from '../../daemon/log.js';
import { isSecretName, redact } from '../../daemon/redact.js';
import { LhsmError } from '../../native-bindings/errors.js';

function capture(config: Partial<LogConfig> = {}, options: LogOptions = {}) {
  const lines: string[] = [];
  const log = createLogger(
    { level: 'info', format: 'json', ...config },
    { destination: { write: (line) => lines.push(line) }, env: {}, ...options },
  );
  const last = () => JSON.parse(lines.at(-1) ?? 'null') as Record<string, unknown>;
  return { log, lines, last };
}

t.test('64-bit values keep every bit, amounts are numbers, FIDs are written as Lustre writes them', (t) => {
  const { log, last } = capture();
  const fid = { seq: 0x200000401n, oid: 0x1af, ver: 0 };
  log
    .child({ cookie: 0xffffffffffffffffn })
    .info({ fid, bytes: 3n, sizeBytes: 2n ** 63n, deep: { fids: [fid] } }, 'x');
  t.match(last(), {
    level: 'info',
    time: /^\d{4}-\d\d-\d\dT.*Z$/,
    cookie: '0xffffffffffffffff',
    fid: '[0x200000401:0x1af:0x0]',
    bytes: 3,
    sizeBytes: '9223372036854775808',
    deep: { fids: ['[0x200000401:0x1af:0x0]'] },
    msg: 'x',
  });
  t.end();
});

t.test('errors carry code, op, errno by name, hint and their causes', (t) => {
  const { log, last } = capture();
  const inner = Object.assign(new Error('socket hang up'), {
    code: 'ECONNRESET',
    errno: -104,
    syscall: 'read',
  });
  const error = new LhsmError('no blob', {
    code: 'BLOB_MISSING',
    errno: 2,
    op: 'Get Blob',
    hint: 'Look.',
    cause: inner,
  });
  const expected = {
    name: 'LhsmError',
    message: 'no blob',
    code: 'BLOB_MISSING',
    errno: 'ENOENT',
    op: 'Get Blob',
    hint: 'Look.',
    cause: { message: 'socket hang up', code: 'ECONNRESET', errno: 'ECONNRESET', op: 'read' },
  };
  log.error({ err: error }, 'failed');
  t.match(last(), { err: expected, msg: 'failed' });
  log.error(error);
  t.match(last(), { err: expected, msg: 'no blob' });
  t.notOk(Object.hasOwn(last()['err'] as object, 'stack'), 'failures of the world need no stack');
  log.error({ err: new TypeError('mistake') });
  t.match(last(), { err: { stack: /log\.test/ } }, 'mistakes of ours do');
  log.error({ err: new AggregateError([error], 'many') });
  t.match(last(), { err: { errors: [{ code: 'BLOB_MISSING' }] } });
  t.end();
});

t.test('odd values neither throw nor flood the log', (t) => {
  const { log, lines, last } = capture();
  const ring: Record<string, unknown> = {};
  ring['ring'] = ring;
  log.info({
    ring,
    buffer: Buffer.alloc(1_000_000),
    many: Array.from({ length: 1000 }, (_, at) => at),
    map: new Map([['a', 1n]]),
    nan: NaN,
    none: undefined,
    date: new Date(NaN),
    url: new URL('https://a/b?sig=x'),
  });
  t.match(last(), {
    buffer: '<1000000 bytes>',
    map: { a: '0x1' },
    nan: 'NaN',
    date: null,
    url: 'https://a/b?sig=[redacted]',
  });
  t.ok((lines.at(-1)?.length ?? 0) < 2000);
  t.end();
});

const key = Buffer.alloc(64, 7).toString('base64');
const jwt = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.${'x'.repeat(20)}`;

t.test('no secret gets into a line, wherever it stands', (t) => {
  const texts = [
    'https://a.blob.core.windows.net/c/b?sv=2024&sp=r&sig=c2VjcmV0',
    'sig=c2VjcmV0&sv=1',
    encodeURIComponent('https://a/b?sv=1&sig=c2VjcmV0'),
    `DefaultEndpointsProtocol=https;AccountName=a;AccountKey=${key};EndpointSuffix=x`,
    'SharedAccessSignature=sv=1&sig=c2VjcmV0',
    `Authorization: Bearer ${jwt}`,
    'Bearer c2VjcmV0c2VjcmV0',
    `SharedKey acct:c2VjcmV0`,
    `the key is ${key}.`,
    `client_secret=c2VjcmV0`,
    jwt,
  ];
  const secrets = /c2VjcmV0|eyJ|BwcHBwcH/;
  for (const text of texts) t.notMatch(redact(text), secrets, text.slice(0, 20));
  for (const format of ['json', 'journald', 'pretty'] as const) {
    const { log, lines } = capture({ format });
    for (const text of texts) {
      log.info(text);
      log.child({ text }).error({ err: new Error(text, { cause: new Error(text) }), list: [text] }, text);
    }
    log.info({ accountKey: 'plain', headers: { Authorization: 'plain', 'x-ms-date': 'now' }, sas: 'plain' });
    t.notMatch(lines.join(''), secrets);
    t.notMatch(lines.at(-1), /plain/);
    t.match(lines.at(-1), /now/);
  }
  t.notOk(isSecretName('tokens') || isSecretName('signal'));
  t.equal(redact('design=3&assign=4'), 'design=3&assign=4');
  t.end();
});

t.test('journald gets a priority before each line', (t) => {
  const { log, lines } = capture({ format: 'journald', level: 'trace' });
  for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[level]('x');
  t.same(
    lines.map((line) => line.slice(0, 4)),
    ['<7>{', '<7>{', '<6>{', '<4>{', '<3>{', '<2>{'],
  );
  t.end();
});

t.test('auto: journald only when it is journald that reads', (t) => {
  const first = (options: LogOptions) => {
    const { log, lines } = capture({ format: 'auto' }, options);
    log.info('x');
    return lines[0]?.[0];
  };
  const stdoutId = () => '8:12345';
  t.equal(first({ env: { JOURNAL_STREAM: '8:12345' }, stdoutId }), '<');
  t.equal(
    first({ env: { JOURNAL_STREAM: '8:1' }, stdoutId }),
    '{',
    'inherited, but our output goes elsewhere',
  );
  t.equal(first({ env: {}, stdoutId }), '{');
  t.end();
});

t.test('pretty lines are for eyes', (t) => {
  const { log, lines } = capture({ format: 'pretty' });
  log.warn({ cookie: 3n, blob: 'a b' }, 'hello');
  t.match(lines[0], /^\d\d:\d\d:\d\d\.\d{3} WARN {2}hello {2}cookie=0x3 blob="a b"\n$/);
  t.end();
});

t.test('the level reloads for children that exist already, and for theirs', (t) => {
  const { log, lines } = capture();
  const child = log.child({ part: 'a' });
  const grandchild = child.child({ part: 'b' });
  for (let at = 0; at < 3000; at++) log.child({ at });
  for (const each of [log, child, grandchild]) each.debug('too little');
  t.equal(lines.length, 0);
  log.level = 'debug';
  for (const each of [log, child, grandchild]) each.debug('now');
  t.equal(lines.length, 3);
  log.level = 'error';
  for (const each of [log, child, grandchild]) each.warn('too little');
  t.equal(lines.length, 3);
  t.end();
});

t.test('lines written just before the exit arrive', async (t) => {
  const module = new URL('../../daemon/log.js', import.meta.url).href;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    `const { createLogger } = await import(${JSON.stringify(module)});
     const log = createLogger({ level: 'info', format: 'json' });
     for (let i = 0; i < 1000; i++) log.info({ i }, 'x');
     process.exit(0);`,
  ]);
  t.equal(stdout.trim().split('\n').length, 1000);
});

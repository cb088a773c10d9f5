import t from 'tap';
import { normalisePrefix } from '../../../daemon/config/checks.js';
import { parseConfig } from '../../../daemon/config/load.js';
import { messageOf, MINIMAL } from './helpers.js';

const parse = (text: string) => parseConfig(text, 'test.toml', { env: {} });
const archive = (id: number, container: string, more = ''): string =>
  `[[archive]]\nid = ${id}\ncontainer = "${container}"\n${more}\ncredential = { type = "default" }\n`;
const blob = 'https://acct.blob.core.windows.net';

t.test('keys that contradict each other', (t) => {
  const cases: readonly [tables: string, message: RegExp][] = [
    ['[scheduler]\nmax_actions = 16', /restore_reserved \(16\) must be below scheduler\.max_actions \(16\)/],
    ['[hsm]\nheartbeat_s = 1800', /heartbeat_s \(1800\) must be below half of hsm\.active_request_timeout_s/],
    ['[hsm]\nrestore_first_progress_s = 3600', /restore_first_progress_s \(3600\) must be below/],
    [
      '[transfer]\nretry_for_s = 3600',
      /retry_for_s \(3600\) must be below hsm\.active_request_timeout_s \(3600\)/,
    ],
    ['[transfer]\nmax_buffer_mib = 31', /max_buffer_mib \(31\) must be at least .* \(32\)/],
    ['[transfer]\nput_blob_max_mib = 300', /put_blob_max_mib \(300\) must not exceed/],
    ['[http]\nlisten = "9464"', /http\.listen is not host:port/],
    ['[http]\nlisten = "localhost:70000"', /http\.listen is not host:port/],
  ];
  for (const [tables, message] of cases)
    t.match(
      messageOf(() => parse(`${MINIMAL}${tables}\n`)),
      message,
    );
  for (const dir of ['/mnt/lustre', '/mnt/lustre/state']) {
    t.match(
      messageOf(() => parse(`state_dir = "${dir}"\n${MINIMAL}`)),
      /state_dir lies on the file system/,
    );
  }
  t.equal(parse(`state_dir = "/mnt/lustre2"\n${MINIMAL}`).stateDir, '/mnt/lustre2');
  t.end();
});

t.test('the patience of transfers fits that of the coordinator', (t) => {
  const short = '[hsm]\nactive_request_timeout_s = 100\nheartbeat_s = 1\nrestore_first_progress_s = 2\n';
  t.equal(parse(`${MINIMAL}${short}`).transfer.retryForMs, 50_000);
  t.end();
});

t.test('containers and prefixes', (t) => {
  const one = (container: string, more = ''): string => `mount = "/m"\n${archive(1, container, more)}`;
  t.match(
    messageOf(() => parse(one(`${blob}/copies/folder`))),
    /container holds more than account and container/,
  );
  t.match(
    messageOf(() => parse(one('https://localhost:10000/account/copies/folder'))),
    /holds more than/,
  );
  t.doesNotThrow(() => parse(one('https://localhost:10000/account/copies')));
  t.match(
    messageOf(() => parse(one(`${blob}/copies`, 'prefix = "a./b"'))),
    /ends in a dot/,
  );
  t.match(
    messageOf(() => parse(one(`${blob}/copies`, "prefix = 'a\\b'"))),
    /backslash/,
  );
  t.end();
});

t.test('addresses to listen on', (t) => {
  for (const listen of ['127.0.0.1:0', '[::1]:9464', 'localhost:1', '0.0.0.0:65535']) {
    t.equal(parse(`${MINIMAL}[http]\nlisten = "${listen}"\n`).http.listen, listen);
  }
  t.equal(parse(`${MINIMAL}[http]\nlisten = "off"\n`).http.listen, undefined);
  t.end();
});

t.test('archives must not collide', (t) => {
  const two = (a: string, b: string) => `mount = "/m"\n${a}${b}`;
  t.match(
    messageOf(() => parse(two(archive(1, `${blob}/one`), archive(1, `${blob}/two`)))),
    /archive\[2\]\.id 1 is that of archive\[1\], too/,
  );
  for (const [a, b] of [
    ['', ''],
    ['', 'prefix = "x"'],
    ['prefix = "x/y"', 'prefix = "/x/"'],
    ['prefix = "x"', 'prefix = "x/"'],
  ]) {
    t.match(
      messageOf(() => parse(two(archive(1, `${blob}/one`, a), archive(2, `${blob}/one/`, b)))),
      /archive\[2\] and archive\[1\] overlap/,
      `${a} and ${b}`,
    );
  }
  const apart = parse(
    two(archive(1, `${blob}/one`, 'prefix = "x"'), archive(2, `${blob}/one`, 'prefix = "xy"')),
  );
  t.same(
    apart.archives.map(({ prefix }) => prefix),
    ['x/', 'xy/'],
  );
  t.equal(parse(two(archive(0, `${blob}/one`), archive(2, `${blob}/two`))).archives.length, 2);
  t.end();
});

t.test('containers', (t) => {
  const good = [
    `${blob}/abc`,
    'http://127.0.0.1:10000/devstoreaccount1/abc',
    `${blob}/$root`,
    `${blob}/a-b-c/`,
    `${blob}/a-b`,
  ];
  for (const container of good) {
    t.equal(
      parse(`mount = "/m"\n${archive(1, container)}`).archives[0]?.container,
      container.replace(/\/$/, ''),
    );
  }
  const bad: readonly [container: string, message: RegExp][] = [
    ['cold', /is not a URL\. .*a bare name goes with a connection string/],
    [`${blob}/`, /names no container/],
    [`${blob}/ab`, /has no valid container name: ab/],
    [`${blob}/Upper`, /has no valid container name/],
    [`${blob}/a--b`, /has no valid container name/],
    [`${blob}/${'a-'.repeat(40)}a`, /has no valid container name/],
    [`${blob}/$logs`, /has no valid container name/],
    ['http://acct.blob.core.windows.net/abc', /is not an https URL/],
    ['ftp://acct/abc', /is not an https URL/],
    ['https://', /is not a URL that can be read/],
    [`${blob}/abc?sv=1`, /carries more than an address\. Put a SAS into a file/],
    ['https://u:p@acct.blob.core.windows.net/abc', /carries more than an address/],
  ];
  for (const [container, message] of bad) {
    t.match(
      messageOf(() => parse(`mount = "/m"\n${archive(1, container)}`)),
      message,
      container,
    );
  }
  t.end();
});

t.test('prefixes', (t) => {
  t.equal(normalisePrefix(''), '');
  t.equal(normalisePrefix('/'), '');
  t.equal(normalisePrefix('//a/b//'), 'a/b/');
  for (const prefix of ['a//b', 'a/../b', './a', 'a\\u0007']) {
    t.match(
      messageOf(() => parse(`mount = "/m"\n${archive(1, `${blob}/abc`, `prefix = "${prefix}"`)}`)),
      /prefix has/,
    );
  }
  t.end();
});

t.test('files of secrets are absolute paths or names of systemd credentials', (t) => {
  const sas = (file: string) =>
    MINIMAL.replace('{ type = "managed-identity" }', `{ type = "sas", file = "${file}" }`);
  t.match(
    messageOf(() => parse(sas('secrets/sas'))),
    /credential\.file is a relative path/,
  );
  t.match(
    messageOf(() => parse(sas('sas'))),
    /systemd credential, but CREDENTIALS_DIRECTORY is not set/,
  );
  t.end();
});

// The table [jobs]: units, bounds, and where the logging container may be.
import t from 'tap';
import { parseConfig } from '../../../daemon/config/load.js';
import { describeConfig } from '../../../daemon/config/to-config.js';
import { messageOf, MINIMAL } from './helpers.js';

const parse = (text: string) => parseConfig(text, 'test.toml', { env: {} });
const jobs = (lines: string, base = MINIMAL): string => `${base}[jobs]\n${lines}\n`;
const logging = (container: string, base = MINIMAL): string =>
  jobs(`logging_container = "${container}"`, base);

const BARE = `mount = "/m"
[[archive]]
id = 1
container = "cold"
credential = { type = "connection-string", file = "/etc/cs" }
`;

t.test('names and units of the program, and back', (t) => {
  const text = jobs(`logging_container = "logs"
stubs_at_once = 3
listing_streams = 2
checkpoint_s = 0.5
window = 100000
file_mode = "600"
directory_mode = "1770"
uid = 4294967294
gid = 7
user_map = "/u"
group_map = "/g"`);
  const config = parse(text);
  t.same(config.jobs, {
    loggingContainer: 'logs',
    stubsAtOnce: 3,
    listingStreams: 2,
    pageSize: 2000,
    checkpointMs: 500,
    window: 100_000,
    fileMode: 0o600,
    directoryMode: 0o1770,
    uid: 4_294_967_294,
    gid: 7,
    userMap: '/u',
    groupMap: '/g',
  });
  t.match(describeConfig(config)['jobs'], {
    file_mode: '0600',
    checkpoint_s: 0.5,
    logging_container: 'logs',
  });
  t.equal(parse(MINIMAL.replace('id = 1', 'id = 1\nhierarchical = true')).archives[0]?.hierarchical, true);
  t.end();
});

t.test('mistakes', (t) => {
  const bad: readonly [string, RegExp][] = [
    [jobs('window = 0'), /jobs\.window must be at least 1; it is 0/],
    [jobs('window = 100001'), /jobs\.window must be at most 100000/],
    [jobs('file_mode = "0888"'), /jobs\.file_mode must be octal digits/],
    [jobs('file_mode = 644'), /jobs\.file_mode must be a string/],
    [jobs('uid = 4294967295'), /jobs\.uid must be at most 4294967294/],
    [jobs('user_map = "users.toml"'), /jobs\.user_map must be an absolute path/],
    [jobs('logging_contaner = "logs"'), /not a key\. Did you mean jobs\.logging_container\?/],
    [logging('Logs'), /jobs\.logging_container has no valid container name: Logs/],
    [logging('https://acct.blob.core.windows.net/logs?sig=x'), /carries more than an address/],
    [logging('https://other.blob.core.windows.net/logs'), /account of none of the archives/],
    [logging('https://acct.blob.core.windows.net/cold/'), /is an archive's container/],
    [logging('cold'), /is an archive's container/],
    // Only what can be known is said of it.
    [
      logging('https://acct.blob.core.windows.net/logs', MINIMAL.replace('https:', 'http:')),
      /^[^,\n]*: line \d+: archive\[1\]\.container is not an https URL[^\n]*$/,
    ],
    [logging('cold', BARE), /is an archive's container/],
    [logging('https://acct.blob.core.windows.net/cold', BARE), /is an archive's container/],
    [
      MINIMAL.replace('id = 1', 'id = 1\nhierarchical = "yes"'),
      /hierarchical must be one of auto, true, false; it is "yes"/,
    ],
  ];
  for (const [text, message] of bad) {
    t.match(
      messageOf(() => parse(text)),
      message,
      String(message),
    );
  }
  t.end();
});

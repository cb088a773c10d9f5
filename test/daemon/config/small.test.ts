// The small helpers of daemon/config: nearest words, lines of keys, flags.
import t from 'tap';
import { parseDaemonFlags } from '../../../daemon/config/flags.js';
import { lineOf, locateKeys } from '../../../daemon/config/locate.js';
import { editDistance, nearest } from '../../../daemon/config/nearest.js';
import { VERSION } from '../../../daemon/version.js';

t.test('edit distance', (t) => {
  t.equal(editDistance('', 'abc'), 3);
  t.equal(editDistance('kitten', 'sitting'), 3);
  t.equal(editDistance('level', 'levle'), 1, 'neighbours swapped count once');
  t.end();
});

t.test('nearest word', (t) => {
  t.equal(nearest('lvel', ['level', 'format']), 'level');
  t.equal(nearest('heartbeat', ['heartbeat_s', 'x']), 'heartbeat_s');
  t.equal(nearest('maxActions', ['max_actions']), 'max_actions');
  t.equal(nearest('banana', ['level', 'format']), undefined);
  t.end();
});

t.test('lines of tables and keys', (t) => {
  const lines = locateKeys(
    'a = 1\n[b]\n"c" = """\nd = 2\n"""\nd.e = 3 # x\n[[f]]\ng = 1\n[[f]]\n[f.h]\ni = 1\n[[f]]\ng = 2\n',
  );
  t.equal(lineOf(lines, ['a']), 1);
  t.equal(lineOf(lines, ['b', 'c']), 3);
  t.equal(lineOf(lines, ['b', 'd', 'e']), 6);
  t.equal(lineOf(lines, ['f', 0, 'g']), 8);
  t.equal(lineOf(lines, ['f', 1, 'h', 'i']), 11);
  t.equal(lineOf(lines, ['f', 2, 'g']), 13);
  t.equal(lineOf(lines, ['f', 1, 'none']), 9, 'the table where the key is missing');
  t.equal(lineOf(lines, ['none']), undefined);
  t.end();
});

t.test('flags of the daemon', (t) => {
  t.same(parseDaemonFlags([]), { configFile: undefined, check: false, overrides: [], print: undefined });
  t.same(
    parseDaemonFlags([
      '--check',
      '--config=/c',
      '--mount',
      '/m',
      '--log-level',
      'debug',
      '--set',
      'hsm.heartbeat_s=3',
    ]),
    {
      configFile: '/c',
      check: true,
      overrides: [
        { key: 'mount', text: '/m', from: '--mount' },
        { key: 'log.level', text: 'debug', from: '--log-level' },
        { key: 'hsm.heartbeat_s', text: '3', from: '--set' },
      ],
      print: undefined,
    },
  );
  t.match(parseDaemonFlags(['--help']).print, /Usage: lhsm-azblobd/);
  t.equal(parseDaemonFlags(['--version']).print, `${VERSION}\n`);
  for (const [argv, message] of [
    [['--logg-level', 'x'], /unknown option '--logg-level'\n\(Did you mean --log-level\?\)/],
    [['--set', 'x'], /KEY=VALUE/],
    [['--mount'], /argument missing/],
    [['extra'], /too many arguments/],
  ] as const) {
    t.throws(() => parseDaemonFlags(argv), { code: 'USAGE', message, hint: /--help/ });
  }
  t.not(VERSION, 'unknown');
  t.end();
});

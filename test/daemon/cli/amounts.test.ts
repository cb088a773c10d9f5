import t from 'tap';
import { parseDuration, parseSize } from '../../../daemon/cli/amounts.js';

t.test('sizes', (t) => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['1k', 1024],
    ['1.5G', 1.5 * 2 ** 30],
    ['10GiB', 10 * 2 ** 30],
    ['10 GB', 10e9],
    ['7b', 7],
    ['2T', 2 ** 41],
  ] as const) {
    t.equal(parseSize(text), bytes, text);
  }
  for (const text of ['', 'G', '-1', '1X', '1e9', '9999P', '1,5G', '0x10'])
    t.throws(() => parseSize(text), { code: 'commander.invalidArgument' }, text);
  t.end();
});

t.test('durations', (t) => {
  for (const [text, seconds] of [
    ['0s', 0],
    ['90s', 90],
    ['15m', 900],
    ['15min', 900],
    ['12h', 43_200],
    ['7d', 604_800],
    ['2w', 1_209_600],
    ['1d12h', 129_600],
  ] as const) {
    t.equal(parseDuration(text), seconds, text);
  }
  for (const text of ['', '7', 'd', '-1d', '1d x', '1y', '1.5h', '1d 2h', '99999999w'])
    t.throws(() => parseDuration(text), { code: 'commander.invalidArgument' }, text);
  t.end();
});

// Rates are those of the last minute.
import t from 'tap';
import { Rates } from '../../../daemon/jobs/rates.js';

t.test('growth a second since the oldest sample of the last minute', (t) => {
  let nowMs = 0;
  const rates = new Rates(() => nowMs);
  t.strictSame(rates.sample({ files: 5 }), { files: 0 }, 'one sample is no rate');
  nowMs = 10_000;
  t.strictSame(rates.sample({ files: 105 }), { files: 10 });
  nowMs = 65_000;
  t.strictSame(rates.sample({ files: 105 }), { files: 0 }, 'the growth is more than a minute ago');
  nowMs = 66_000;
  t.strictSame(rates.sample({ files: 104 }), { files: 0 }, 'never below nothing');
  t.end();
});

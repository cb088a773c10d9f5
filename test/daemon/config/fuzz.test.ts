// Whatever the file holds, loading it gives a configuration or one error of code CONFIG, and no message quotes
// a secret.
import fc from 'fast-check';
import { stringify } from 'smol-toml';
import t from 'tap';
import { jsonSchema, namesAt } from '../../../daemon/config/keys.js';
import { parseConfig } from '../../../daemon/config/load.js';
import { redact } from '../../../daemon/redact.js';
import { hasCode } from '../../../native-bindings/errors.js';
import { MINIMAL } from './helpers.js';

function loadsOrSays(text: string): boolean {
  try {
    parseConfig(text, 'fuzz', { env: {} });
    return true;
  } catch (error) {
    return hasCode(error, 'CONFIG') && !String(error).includes('c2VjcmV0');
  }
}

const value = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.string(),
  fc.constant('?sig=c2VjcmV0'),
  fc.date({ noInvalidDate: true }),
  fc.array(fc.integer()),
);
const known = Object.keys(jsonSchema().properties ?? {});
const inner = known.flatMap((key) => namesAt([key], {}));
const key = fc.oneof(fc.constantFrom(...known, ...inner), fc.string({ minLength: 1 }));
const table = fc.dictionary(key, value);
const document = fc.dictionary(key, fc.oneof(value, table, fc.array(table)));

t.test('any text', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 0, max: MINIMAL.length }), (noise, at) =>
      loadsOrSays(MINIMAL.slice(0, at) + noise + MINIMAL.slice(at)),
    ),
    { numRuns: 300 },
  );
  t.pass('held');
  t.end();
});

t.test('any tables', (t) => {
  fc.assert(
    fc.property(document, (tables) => loadsOrSays(stringify(tables))),
    { numRuns: 500 },
  );
  t.pass('held');
  t.end();
});

t.test('redaction leaves JSON whole', (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('sig=', '&sig=a"b', 'Bearer abcdefgh\\', 'AccountKey=x\u2028;', 'SharedKey a:b\\n'),
  );
  fc.assert(
    fc.property(fc.dictionary(text, fc.array(text)), (object) => {
      JSON.parse(redact(JSON.stringify(object)));
    }),
    { numRuns: 500 },
  );
  t.pass('held');
  t.end();
});

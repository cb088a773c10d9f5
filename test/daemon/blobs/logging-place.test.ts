// Which archive's account the logging container is in, with and without what secrets say.
import fc from 'fast-check';
import t from 'tap';
import { containerAddress } from '../../../daemon/blobs/container-url.js';
import { loggingPlace, type PlacedArchive } from '../../../daemon/blobs/logging-place.js';

const url = (account: string, name: string): string => `https://${account}.blob.core.windows.net/${name}`;

/** Of a URL. */
function named(container: string, credential: unknown = container): PlacedArchive {
  return { container, credential, address: containerAddress(container) };
}

/** Of a bare name; with `service` when the connection string has been read. */
function bare(container: string, credential: unknown, service?: string): PlacedArchive {
  return {
    container,
    credential,
    address: service === undefined ? undefined : containerAddress(container, service),
  };
}

t.test('the logging container borrows the archive of its account', (t) => {
  const [one, two] = [named(url('one', 'data')), named(url('two', 'more'))];
  const found = (logging: string, of: PlacedArchive[] = [one, two]) => loggingPlace(logging, of);
  t.match(found('logs'), { lender: one, address: { url: url('one', 'logs') }, isData: false });
  t.match(found(url('two', 'logs/')), { lender: two, address: { url: url('two', 'logs') } });
  t.match(found(url('TWO', 'logs').replace('https', 'HTTPS')), { lender: two });
  t.equal(found(url('three', 'logs')), undefined);
  t.equal(found('logs', []), undefined);

  const cold = bare('cold', 'secret');
  t.strictSame(found('logs', [cold]), { lender: cold, address: undefined, isData: false });
  t.match(found(url('any', 'logs'), [one, cold]), { lender: cold, address: { url: url('any', 'logs') } });
  t.match(found(url('one', 'logs'), [cold, one]), { lender: one }, 'who is known to be in the account');
  const read = bare('cold', 'secret', 'https://any.blob.core.windows.net');
  t.match(found('logs', [read]), { lender: read, address: { url: url('any', 'logs') } });
  t.equal(found(url('one', 'logs'), [read]), undefined);

  const emulator = named('http://127.0.0.1:10000/acct/data');
  t.match(found('logs', [emulator]), { address: { url: 'http://127.0.0.1:10000/acct/logs' } });
  t.match(found('https://127.0.0.1:10000/acct/logs', [emulator]), { lender: emulator });
  t.equal(found('http://127.0.0.1:10000/other/logs', [emulator]), undefined);
  t.end();
});

t.test('an archive’s own container is told, as far as it can be', (t) => {
  const isData = (logging: string, ...of: PlacedArchive[]) => loggingPlace(logging, of)?.isData;
  const one = named(url('one', 'data'));
  t.equal(isData('data', one), true);
  t.equal(isData(url('one', 'data/'), named(url('two', 'more')), one), true);
  t.equal(isData(url('two', 'data'), named(url('two', 'more')), one), false, 'that of another account');
  const cold = bare('cold', 'secret');
  t.equal(isData('cold', cold), true);
  t.equal(isData('cold', bare('warm', 'secret'), cold), true, 'with the secret of another archive');
  t.equal(isData('cold', bare('warm', 'other'), cold), false, 'whose account may be another');
  t.equal(isData(url('any', 'cold'), cold), true);
  t.equal(isData(url('any', 'cold'), cold, bare('warm', 'other')), false, 'which may be the account');
  t.equal(isData('data', cold, one), false, 'nobody knows yet');
  t.equal(isData('data', bare('cold', 'secret', 'https://one.blob.core.windows.net'), one), true);
  t.end();
});

t.test('what secrets add changes nothing that was known before', (t) => {
  const account = fc.constantFrom('one', 'two');
  const container = fc.constantFrom('abc', 'def');
  const archive = fc.record({ account, container, isBare: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(archive, { minLength: 1, maxLength: 3 }),
      fc.record({ account, container: fc.constantFrom('abc', 'xyz'), isBare: fc.boolean() }),
      (archives, logging) => {
        const text = logging.isBare ? logging.container : url(logging.account, logging.container);
        const [before, after] = [false, true].map((isRead) =>
          loggingPlace(
            text,
            archives.map(({ account, container, isBare }) => {
              if (!isBare) return named(url(account, container), account);
              return bare(
                container,
                account,
                isRead ? `https://${account}.blob.core.windows.net` : undefined,
              );
            }),
          ),
        );
        if (before === undefined) return after === undefined;
        // The account of the guess may turn out to be another; then nothing was known.
        if (after === undefined) return before.lender.address === undefined;
        return (
          (!before.isData || after.isData) &&
          (before.address?.url ?? after.address?.url) === after.address?.url
        );
      },
    ),
    { numRuns: 1000 },
  );
  t.end();
});

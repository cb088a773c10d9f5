// What the parts are told of the configuration.
import { pino } from 'pino';
import t from 'tap';
import { containerOptions } from '../../daemon/agent-parts.js';
import { parseConfig } from '../../daemon/config/load.js';
import { MINIMAL } from './config/helpers.js';

t.test('containers have the patience and the CA file of the configuration', (t) => {
  const transfer =
    '\n[transfer]\nmax_tries = 9\nretry_for_s = 70\nstall_timeout_s = 5\nca_file = "/ca.pem"\n';
  const config = parseConfig(MINIMAL + transfer, 'test.toml', { env: {} });
  t.match(containerOptions(config, pino({ level: 'silent' })), {
    maxTries: 9,
    retryForMs: 70_000,
    stallTimeoutMs: 5000,
    caFile: '/ca.pem',
  });
  t.end();
});

// What the parts are told of the configuration.
import { pino } from 'pino';
import t from 'tap';
import { containerOptions } from '../../daemon/agent-parts.js';
import { parseConfig } from '../../daemon/config/load.js';
import { AgentEmitter } from '../../daemon/events.js';
import { LhsmError } from '../../native-bindings/errors.js';
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

t.test('retries and throttles of the requests of containers are told as events', (t) => {
  const events = new AgentEmitter();
  const told: string[] = [];
  events.on('containerRequest', ({ what }) => told.push(what));
  const config = parseConfig(MINIMAL, 'test.toml', { env: {} });
  const { onRetry, onThrottle } = containerOptions(config, pino({ level: 'silent' }), events);
  onThrottle?.();
  onRetry?.(new LhsmError('busy', { code: 'THROTTLED', op: 'Put Blob' }));
  t.same(told, ['throttle', 'retry']);
  t.end();
});

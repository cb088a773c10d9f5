// The agent in this process, over the simulator: what a stop does that meets its start.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Agent } from '../../daemon/agent.js';
import { parseConfig } from '../../daemon/config/load.js';
import { adminSocket } from '../../daemon/config/mount-name.js';
import { lockMount } from '../../daemon/mount-lock.js';
import { LustreSim } from '../lustre-sim/lustre-sim.js';

t.test('a stop while it starts: nothing is opened behind it, nothing is left', async (t) => {
  const sim = await LustreSim.start();
  t.teardown(() => sim.stop());
  const dir = t.testdir();
  const config = parseConfig(
    [
      `mount = ${JSON.stringify(sim.mount)}`,
      `library = ${JSON.stringify(sim.library)}`,
      `state_dir = ${JSON.stringify(join(dir, 'state'))}`,
      `run_dir = ${JSON.stringify(join(dir, 'run'))}`,
      '[[archive]]\nid = 1\ncontainer = "http://127.0.0.1:9/devstoreaccount1/archive"',
      'credential = { type = "managed-identity" }',
      '[http]\nlisten = "off"',
    ].join('\n'),
    'test.toml',
    { env: {} },
  );
  const agent = new Agent(config, {
    log: pino({ level: 'silent' }),
    loadConfig: () => Promise.resolve(config),
  });
  const started = agent.start();
  const stopped = agent.stop();
  await t.rejects(started, { code: 'SHUTDOWN' });
  await stopped;
  t.notOk(existsSync(adminSocket(config.runDir, config.mount)), 'no admin API');
  const lock = await lockMount(sim.mount);
  await lock.release();
});

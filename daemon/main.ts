// The daemon: flags → configuration → agent → signals. lhsm-azblobd.cts loads it.
import { writeFileSync } from 'node:fs';
import { describeError, hasCode, LhsmError } from '../native-bindings/errors.js';
import { Agent } from './agent.js';
import { check } from './check.js';
import { parseDaemonFlags, type DaemonFlags } from './config/flags.js';
import { loadConfig } from './config/load.js';
import { createLogger } from './log.js';

/** Exit statuses (docs/operations.md). */
const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** After the second signal, how long the ends of what is left may take. */
const LAST_GRACE_MS = 5000;

async function run(flags: DaemonFlags): Promise<number> {
  const load = () => loadConfig({ file: flags.configFile, overrides: flags.overrides });
  const config = await load();
  if (flags.check)
    return (await check(config, (line) => process.stdout.write(`${line}\n`))) ? EXIT.ok : EXIT.failed;

  process.title = `lhsm-azblobd ${config.mount}`;
  // The title's first 15 characters have become the name that `pgrep -x` and `pkill -x` compare: without the mount.
  writeFileSync('/proc/self/comm', 'lhsm-azblobd');
  const log = createLogger(config.log);
  const agent = new Agent(config, { log, loadConfig: load });
  let stops = 0;
  const stop = (signal: NodeJS.Signals): void => {
    stops += 1;
    log.info({ signal, grace_ms: stops === 1 ? config.shutdown.graceMs : 0 }, 'stopping');
    if (stops === 2) {
      setTimeout(() => {
        log.fatal('some actions could not be ended: the journal keeps them for the next start');
        // process.exit would wait for libuv's threads, and one of them may be in a call that never returns.
        log.flush(() => process.kill(process.pid, 'SIGKILL'));
      }, LAST_GRACE_MS).unref();
    }
    void agent.stop().then(() => {
      ended?.(EXIT.ok);
    });
  };
  let ended: ((status: number) => void) | undefined;
  const end = new Promise<number>((resolve) => {
    ended = resolve;
  });
  process.on('SIGTERM', stop).on('SIGINT', stop);
  process.on('SIGHUP', () => {
    agent.reload().catch((error: unknown) => {
      log.error({ err: error }, `the configuration stays as it was: ${describeError(error)}`);
    });
  });

  try {
    await agent.start();
  } catch (error) {
    if (hasCode(error, 'SHUTDOWN')) return end;
    log.fatal({ err: error }, describeError(error));
    return EXIT.failed;
  }
  void agent.over().then(async (error) => {
    if (error) log.fatal({ err: error }, describeError(error));
    await agent.stop();
    ended?.(error ? EXIT.failed : EXIT.ok);
  });
  return end;
}

function fail(error: unknown): number {
  process.stderr.write(`lhsm-azblobd: ${describeError(error)}\n`);
  const usage = error instanceof LhsmError && (error.code === 'USAGE' || error.code === 'CONFIG');
  return usage ? EXIT.usage : EXIT.failed;
}

try {
  const flags = parseDaemonFlags(process.argv.slice(2));
  if (flags.print === undefined) process.exitCode = await run(flags);
  else process.stdout.write(flags.print);
} catch (error) {
  process.exitCode = fail(error);
}

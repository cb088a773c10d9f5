// The flags of the daemon: main.ts calls it. Flags win over the environment and over the file.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { LhsmError } from '../../native-bindings/errors.js';
import { VERSION } from '../version.js';
import { environmentName } from './keys.js';
import type { Override } from './load.js';

/** What the command line asks for. */
export interface DaemonFlags {
  /** undefined: LHSM_AZBLOB_CONFIG or the default file. */
  readonly configFile: string | undefined;
  /** Only check configuration, credentials, containers, mount and library. */
  readonly check: boolean;
  readonly overrides: readonly Override[];
  /** Text of --help or --version: print it and exit with 0. */
  readonly print: string | undefined;
}

/** Flags that set a key of the configuration. */
const shortcuts = {
  mount: ['--mount <path>', 'mount', 'where Lustre is mounted'],
  library: ['--library <file>', 'library', 'the Lustre library (liblustreapi.so.1)'],
  stateDir: ['--state-dir <path>', 'state_dir', 'where journal and lock are kept'],
  runDir: ['--run-dir <path>', 'run_dir', 'where the admin socket is made'],
  listen: ['--listen <host:port>', 'http.listen', 'address of /metrics, /healthz and /readyz, or "off"'],
  logLevel: ['--log-level <level>', 'log.level', 'trace, debug, info, warn, error or fatal'],
  logFormat: ['--log-format <format>', 'log.format', 'auto, json, journald or pretty'],
} as const;

function keyAndValue(text: string, before: Override[] = []): Override[] {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError('Write KEY=VALUE.');
  return [...before, { key: key.trim(), text: value, from: '--set' }];
}

function build(): Command {
  const command = new Command('lhsm-azblobd')
    .description('Lustre HSM copytool for Azure Blob Storage: one daemon for each mount.')
    .option('--config <file>', 'the configuration file')
    .option('--check', 'check configuration, credentials, containers, mount and library, then exit')
    .option(
      '--set <key=value>',
      'set any key outside of [[archive]], say scheduler.max_actions=128',
      keyAndValue,
    )
    .version(VERSION, '--version')
    .helpOption('--help', 'print this text')
    .allowExcessArguments(false)
    .configureHelp({ helpWidth: 100 })
    .showSuggestionAfterError()
    .exitOverride();
  for (const [flag, , text] of Object.values(shortcuts)) command.option(flag, text);
  return command.addHelpText(
    'after',
    `\nFlags win over the environment (${environmentName('log.level')} and so on), the environment wins over the file.\n` +
      'Keys: docs/configuration.md. Exit status: docs/operations.md.\n',
  );
}

/**
 * Reads the daemon's flags (`process.argv.slice(2)`). Throws LhsmError code USAGE.
 * The values are checked later, with the file's, so that everything wrong is said at once.
 */
export function parseDaemonFlags(argv: readonly string[]): DaemonFlags {
  let printed = '';
  let complaint = '';
  const command = build().configureOutput({
    writeOut: (text) => (printed += text),
    writeErr: (text) => (complaint += text),
  });
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { configFile: undefined, check: false, overrides: [], print: printed };
    throw new LhsmError((complaint || error.message).replace(/^error: /, '').trim(), {
      code: 'USAGE',
      op: 'parse flags',
      errno: 22,
      hint: 'See lhsm-azblobd --help.',
      cause: error,
    });
  }
  const options = command.opts<{ config?: string; check?: boolean; set?: Override[] }>();
  const given = command.opts<Partial<Record<keyof typeof shortcuts, string>>>();
  const overrides = Object.entries(shortcuts).flatMap(([name, [flag, key]]): Override[] => {
    const text = given[name as keyof typeof shortcuts];
    return text === undefined ? [] : [{ key, text, from: flag.split(' ', 1)[0] ?? flag }];
  });
  return {
    configFile: options.config,
    check: options.check ?? false,
    overrides: [...overrides, ...(options.set ?? [])],
    print: undefined,
  };
}

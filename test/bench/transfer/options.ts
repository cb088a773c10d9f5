// What the transfer bench is told on its command line.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

export const SECTIONS = ['restore', 'archive', 'smallRestore', 'curve', 'memory'] as const;
export type Section = (typeof SECTIONS)[number];
export type Scheme = 'http' | 'tls';

export const PROGRAMS = ['floor', 'ours', 'azcopy', 'rclone'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

export interface Options {
  readonly json: string | undefined;
  readonly rounds: number;
  readonly only: readonly Section[];
  readonly schemes: readonly Scheme[];
  readonly programs: readonly ProgramName[];
  /** Of one run with large files, all together. */
  readonly gib: number;
  readonly largeFiles: number;
  readonly smallFiles: number;
  readonly connections: number;
  /** Of our engine; undefined is its default. */
  readonly workers: number | undefined;
  /** Numbers of workers to try. */
  readonly curve: readonly number[];
  /** Small restores of the memory run. */
  readonly memoryFiles: number;
  /** Each of the 64 large files of the memory run. */
  readonly flightMib: number;
  /** Metadata of each blob that holds its CRC64; undefined: none. */
  readonly crc64Key: string | undefined;
}

export const USAGE = `npm run bench -- transfer [options]
  --json FILE          write the results there, too
  --rounds N           runs of each program (5)
  --gib N              GiB of one run with large files (2)
  --large-files N      over so many files (2)
  --small-files N      files of 4 KiB in one run (6000)
  --connections N      of each program (16)
  --workers N          of our engine (its default)
  --curve N,N,…        numbers of workers to try with archives (1 to the number of cores, at least 1,2)
  --memory-files N     small restores of the memory run (200000)
  --flight-mib N       MiB of each of the 64 large files of the memory run (32)
  --crc64-key KEY      the blobs have their CRC64 as metadata KEY, for ours to compare
  --only SECTION,…     of ${SECTIONS.join(', ')}
  --programs NAME,…    of ${PROGRAMS.join(', ')}
  --no-tls, --no-http
`;

function list<T extends string>(flag: string, text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  const wrong = text.split(',').find((name) => !(all as readonly string[]).includes(name));
  if (wrong !== undefined) throw new Error(`${flag}: ${wrong} is none of ${all.join(', ')}\n\n${USAGE}`);
  return all.filter((name) => text.split(',').includes(name));
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${flag}: ${text} is no positive number\n\n${USAGE}`);
  return value;
}

/** Throws an Error that says what is wrong. */
export function parseOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      gib: { type: 'string', default: '2' },
      'large-files': { type: 'string', default: '2' },
      'small-files': { type: 'string', default: '6000' },
      connections: { type: 'string', default: '16' },
      workers: { type: 'string' },
      curve: { type: 'string' },
      'memory-files': { type: 'string', default: '200000' },
      'flight-mib': { type: 'string', default: '32' },
      'crc64-key': { type: 'string' },
      only: { type: 'string' },
      programs: { type: 'string' },
      'no-tls': { type: 'boolean', default: false },
      'no-http': { type: 'boolean', default: false },
    },
  });
  const whole = (flag: keyof typeof values): number =>
    Math.max(1, Math.round(positive(flag, String(values[flag]))));
  const upToCores = Array.from({ length: Math.max(2, availableParallelism()) }, (_, index) => index + 1);
  return {
    json: values.json,
    rounds: whole('rounds'),
    only: list('--only', values.only, SECTIONS),
    schemes: [...(values['no-http'] ? [] : ['http' as const]), ...(values['no-tls'] ? [] : ['tls' as const])],
    programs: list('--programs', values.programs, PROGRAMS),
    gib: positive('gib', values.gib),
    largeFiles: whole('large-files'),
    smallFiles: whole('small-files'),
    connections: whole('connections'),
    workers: values.workers === undefined ? undefined : whole('workers'),
    curve: values.curve?.split(',').map((text) => Math.round(positive('curve', text))) ?? upToCores,
    memoryFiles: whole('memory-files'),
    flightMib: whole('flight-mib'),
    crc64Key: values['crc64-key'],
  };
}

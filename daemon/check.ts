// `lhsm-azblobd --check`: tries everything the daemon needs, one line each, with the mend for what is wrong.
// It registers nowhere and changes nothing, so it may run beside a serving daemon.
import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { pino } from 'pino';
import { callThreads } from '../native-bindings/call-threads.js';
import { crc64Implementation } from '../native-bindings/crc64.js';
import { describeError } from '../native-bindings/errors.js';
import { loadLustre } from '../native-bindings/liblustreapi.js';
import { containerOptions } from './agent-parts.js';
import { createArchiveContainer, type ContainerOptions } from './blobs/azure-container.js';
import { loggingContainerOf } from './blobs/logging-address.js';
import type { ArchiveConfig, Config } from './config/config.js';
import { loadIdMap } from './jobs/id-map.js';
import { deviceOf } from './mount-lock.js';
import { fsnameOf } from './mounted.js';

/** Prints a line for each thing checked; true when all is well. The configuration itself was checked by loading it. */
export async function check(config: Config, print: (line: string) => void): Promise<boolean> {
  let good = true;
  const attempt = async (what: string, work: () => unknown): Promise<void> => {
    try {
      const found = await work();
      print(`ok    ${what}${typeof found === 'string' ? `: ${found}` : ''}`);
    } catch (error) {
      good = false;
      print(`FAIL  ${what}: ${describeError(error)}`);
    }
  };
  await attempt(`mount ${config.mount}`, () => deviceOf(config.mount).then(() => undefined));
  await attempt(
    `library ${config.library}`,
    () => `file system ${fsnameOf(loadLustre(config), config.mount)}`,
  );
  await attempt('CRC64', () => crc64Implementation());
  await attempt('threads for calls', () => {
    callThreads();
  });
  for (const folder of [config.stateDir, config.runDir]) {
    await attempt(`folder ${folder}`, () => {
      writable(folder);
    });
  }
  const options = containerOptions(config, pino({ level: 'silent' }));
  for (const archive of config.archives) {
    await attempt(`archive ${archive.id}, container ${archive.container}`, () => probe(archive, options));
  }
  const { loggingContainer, userMap, groupMap } = config.jobs;
  if (loggingContainer !== undefined) {
    await attempt(`logging container ${loggingContainer}`, () =>
      probeLogging(config, loggingContainer, options),
    );
  }
  for (const map of [userMap, groupMap]) {
    if (map === undefined) continue;
    await attempt(`map ${map}`, async () => {
      const { size } = await loadIdMap(map, new AbortController().signal);
      return `${size} names`;
    });
  }
  return good;
}

async function probe(archive: ArchiveConfig, options: ContainerOptions): Promise<void> {
  const container = createArchiveContainer(archive, options);
  try {
    await container.probe(new AbortController().signal);
  } finally {
    container.close();
  }
}

async function probeLogging(
  { archives }: Config,
  loggingContainer: string,
  options: ContainerOptions,
): Promise<void> {
  const container = loggingContainerOf(archives, loggingContainer, options);
  try {
    await container.check(new AbortController().signal);
  } finally {
    container.close();
  }
}

/** The folder, or where it would be made, can be written. */
function writable(folder: string): void {
  let at = folder;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  accessSync(at, constants.W_OK | constants.X_OK);
}

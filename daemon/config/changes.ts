// What a reload can put into force: agent.ts calls it at SIGHUP.
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.js';
import { settableKeys } from './keys.js';
import { describeArchive, describeConfig } from './to-config.js';

export interface ConfigChanges {
  /** Changed keys that are in force without a restart. */
  readonly applied: readonly string[];
  /** Changed keys that are in force only after a restart. */
  readonly needRestart: readonly string[];
}

function valueAt(description: Record<string, unknown>, key: string): unknown {
  let at: unknown = description;
  for (const part of key.split('.')) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[part] : undefined;
  }
  return at;
}

function* changedArchives(before: Config, after: Config): Iterable<string> {
  const old = new Map(before.archives.map((archive) => [archive.id, describeArchive(archive)]));
  for (const archive of after.archives) {
    const [was, is] = [old.get(archive.id), describeArchive(archive)];
    old.delete(archive.id);
    if (!was) yield `archive ${archive.id}`;
    else {
      for (const [key, value] of Object.entries(is)) {
        if (!isDeepStrictEqual(value, was[key])) yield `archive ${archive.id}: ${key}`;
      }
    }
  }
  for (const id of old.keys()) yield `archive ${id}`;
}

/** Which keys differ, by whether a reload applies them. The names are those of the file. */
export function whatChanged(before: Config, after: Config): ConfigChanges {
  const [old, now] = [describeConfig(before), describeConfig(after)];
  const changed = [...settableKeys().values()].filter(
    ({ key }) => !isDeepStrictEqual(valueAt(old, key), valueAt(now, key)),
  );
  return {
    applied: changed.filter(({ reload }) => reload).map(({ key }) => key),
    needRestart: [
      ...changed.filter(({ reload }) => !reload).map(({ key }) => key),
      ...changedArchives(before, after),
    ],
  };
}

/** The running configuration with what a reload may change taken from `after`, everything else as it was. */
export function applyReloadable(before: Config, after: Config): Config {
  return {
    ...before,
    log: { ...before.log, level: after.log.level },
    scheduler: after.scheduler,
    hsm: after.hsm,
    policy: after.policy,
    shutdown: after.shutdown,
  };
}

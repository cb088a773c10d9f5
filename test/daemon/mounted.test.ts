// Whether a mount is still the file system that it was, as far as can be seen: an eviction is not its end.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { LhsmError } from '../../native-bindings/errors.js';
import { deviceOf } from '../../daemon/mount-lock.js';
import { stillMounted, type MountedOptions } from '../../daemon/mounted.js';

const log = pino({ level: 'silent' });
const llapi = (code: string): LhsmError => new LhsmError(code, { code, op: 'llapi_search_fsname' });

/** What is said of a mount whose device was 7. */
function ask(changes: Partial<MountedOptions>): Promise<boolean> {
  return stillMounted({
    lustre: { fsname: () => 'lustre' },
    mount: '/mnt/lustre',
    device: 7,
    log,
    lookAt: () => Promise.resolve(7),
    ...changes,
  });
}

/** As fs.stat fails: libuv has no name for ESHUTDOWN. */
function statFails(errno: number, code: string): Partial<MountedOptions> {
  const cause = Object.assign(new Error(code), { errno: -errno, code });
  const error = new LhsmError('cannot look', { code: 'MOUNT_MISSING', op: 'stat', errno: 2, cause });
  return { lookAt: () => Promise.reject(error) };
}

const fsnameFails = (error: Error): Partial<MountedOptions> => ({
  lustre: {
    fsname: () => {
      throw error;
    },
  },
});

t.test('the same device and a Lustre: still mounted', async (t) => {
  t.equal(await ask({}), true);
});

for (const [what, changes] of [
  ['the mount point is gone', statFails(2, 'ENOENT')],
  ['a FUSE file system has died', statFails(107, 'ENOTCONN')],
  ['the mount point is a file now', statFails(20, 'ENOTDIR')],
  ['another file system is there', { lookAt: () => Promise.resolve(8) }],
  ['it is no Lustre any more', fsnameFails(llapi('ENODEV'))],
] as const) {
  t.test(`gone: ${what}`, async (t) => {
    t.equal(await ask(changes), false);
  });
}

for (const [what, changes] of [
  ['stat says EIO', statFails(5, 'EIO')],
  ['stat says ESHUTDOWN', statFails(108, 'Unknown system error -108')],
  ['liblustreapi says EIO', fsnameFails(llapi('EIO'))],
  ['liblustreapi says ESHUTDOWN', fsnameFails(llapi('ESHUTDOWN'))],
] as const) {
  t.test(`an eviction is not the end: ${what}`, async (t) => {
    t.equal(await ask(changes), true);
  });
}

t.test('a file in the place of the mount point is said to be no directory', async (t) => {
  const file = join(t.testdir(), 'file');
  writeFileSync(file, '');
  const looked = deviceOf(file);
  await t.rejects(looked, { code: 'MOUNT_MISSING', cause: { code: 'ENOTDIR' } });
  t.equal(await ask({ mount: file, lookAt: deviceOf }), false);
});

// A file that was walked over is looked at again as itself, or not at all.
import { execFileSync } from 'node:child_process';
import { lstat, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { entryOf, lookAtWalkedFiles, withWalkedFile } from '../../../daemon/jobs/walked-file.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';

const sim = await LustreSim.start();
t.teardown(() => sim.stop());
const lustre = loadLustre({ library: sim.library });
const dir = join(sim.mount, 'dir');
const path = join(dir, 'file');

t.beforeEach(async () => {
  await mkdir(dir);
  await writeFile(path, 'content');
});
t.afterEach(() => rm(dir, { recursive: true }));

const walked = async () => entryOf(Buffer.from('dir/file'), await lstat(path, { bigint: true }));

t.test('itself', async (t) => {
  const entry = await walked();
  const gone = { ...entry, path: Buffer.from('dir/gone') };
  const looks = await lookAtWalkedFiles(sim.mount, [gone, entry], lustre);
  t.match(looks[0], { name: 'LhsmError', code: 'ENOENT' });
  t.match(looks[1], { state: { states: 0 }, fid: await lustre.pathToFid(path) }, 'whatever stands before it');
  t.equal(await withWalkedFile(sim.mount, await walked(), () => Promise.resolve('used')), 'used');
});

const changes: Record<string, () => Promise<void>> = {
  gone: () => rm(path),
  'another file': async () => {
    await writeFile(join(dir, 'other'), '');
    await rename(join(dir, 'other'), path);
  },
  'a link to it': async () => {
    await rename(path, join(dir, 'moved'));
    await symlink('moved', path);
  },
  'a FIFO': async () => {
    await rm(path);
    execFileSync('mkfifo', [path]);
  },
  'below a file': async () => {
    await rm(dir, { recursive: true });
    await writeFile(dir, '');
  },
};

for (const [name, change] of Object.entries(changes)) {
  t.test(name, async (t) => {
    const entry = await walked();
    await change();
    t.match(await lookAtWalkedFiles(sim.mount, [entry], lustre), [{ name: 'LhsmError', code: 'ENOENT' }]);
    const use = () => t.fail('not to be used');
    await t.rejects(
      withWalkedFile(sim.mount, entry, () => Promise.resolve(use())),
      {
        name: 'LhsmError',
        code: 'ENOENT',
      },
    );
  });
}

// The identity that tells our blobs from those of another file system with the same FIDs.
import t from 'tap';
import { fileSystemId, sameFileSystem } from '../../../daemon/movers/file-system-id.js';
import type { Lustre } from '../../../native-bindings/lustre.js';

for (const [one, other, same] of [
  ['lustre@1700000000', 'lustre@1700000000', true],
  ['lustre@1700000000', 'lustre@1600000000', false],
  ['lustre@1700000000', 'scratch@1700000000', false],
  ['lustre', 'lustre', true],
  ['lustre', 'scratch', false],
  ['lustre', 'lustre@1700000000', true],
  ['lustre@1700000000', 'lustre', true],
  ['', 'lustre', false],
] as const) {
  t.test(`${one} and ${other} are ${same ? 'one' : 'two'}`, (t) => {
    t.equal(sameFileSystem(one, other), same);
    t.end();
  });
}

t.test('it begins with the name, is asked for once, and again after a failure', async (t) => {
  let asked = 0;
  const lustre = {
    fsname: () => {
      asked += 1;
      if (asked === 1) throw new Error('not yet');
      return 'lustre';
    },
  } as unknown as Lustre;
  const mount = t.testdir({});
  await t.rejects(fileSystemId(lustre, mount), { message: 'not yet' });
  t.match(await fileSystemId(lustre, mount), /^lustre(@\d+)?$/);
  t.equal(await fileSystemId(lustre, mount), await fileSystemId(lustre, mount));
  t.equal(asked, 2);
});

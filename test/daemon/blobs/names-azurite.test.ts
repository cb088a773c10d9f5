// Awkward names against a blob service: what is written under a name is found under it, and listed as it.
import t from 'tap';
import { createArchiveContainer } from '../../../daemon/blobs/azure-container.js';
import { blobNameOfPath, pathOfBlobName } from '../../../daemon/blobs/names.js';
import { startAzurite } from '../../helpers/azurite.js';

const names = [
  'a%b',
  '100%25 %2F',
  'what?x=1',
  'nr#1',
  'two words',
  'back\\slash',
  'back/slash',
  'back%5Cslash',
  'dots...',
  'dir./x.',
  '...',
  'tab\tand\nnewline\x7f',
  '😀/naïve ☃',
  'a+b&c=d;e,f@g:h!$()*[]"<>|^`{}~',
  "quote'd",
  ' leading and trailing ',
  'x'.repeat(255),
  `${`${'ü'.repeat(100)}/`.repeat(9)}end`,
];

t.test('every awkward name round-trips', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const client = await azurite.container('copies');
  const container = createArchiveContainer({
    id: 1,
    container: 'copies',
    prefix: '',
    naming: 'path',
    credential: { type: 'connection-string', file: azurite.connectionStringFile },
  });
  t.teardown(() => {
    container.close();
  });
  const { signal } = new AbortController();
  for (const [index, path] of names.entries()) {
    const name = blobNameOfPath('', Buffer.from(path));
    await container.putEmpty(name, { nr: String(index) }, 'absent', signal);
    t.match(
      await container.properties(name, signal),
      { metadata: { nr: String(index) } },
      JSON.stringify(path),
    );
  }
  const listed: string[] = [];
  for await (const blob of client.listBlobsFlat()) listed.push(blob.name);
  const paths = listed.map((name) => pathOfBlobName('', name).toString());
  t.same(paths.sort(), [...names].sort(), 'listed, they give their paths back');
});

// Azurite in a process of its own, so that its work and memory are not the bench's: azurite-process.ts forks it.
import { startAzurite } from '../helpers/azurite.js';

const azurite = await startAzurite();
await azurite.container('archive');
await azurite.container('logs');
process.send?.({
  url: azurite.url,
  connectionString: azurite.connectionString,
  connectionStringFile: azurite.connectionStringFile,
});
process.once('disconnect', () => {
  void azurite.stop().then(() => process.exit());
});

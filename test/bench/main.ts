// `npm run bench -- NAME [options]`: runs one of the benches.
import { run as agent } from './agent.js';
import { run as crc64 } from './crc64.js';
import { run as importBench } from './import.js';
import { run as restore } from './restore.js';
import { run as transfer } from './transfer.js';

const benches: Readonly<Record<string, (argv: string[]) => Promise<boolean>>> = {
  agent,
  crc64,
  import: importBench,
  restore,
  transfer,
};

const [name = '', ...argv] = process.argv.slice(2);
const bench = benches[name];
if (bench) {
  if (!(await bench(argv))) process.exitCode ??= 1;
} else {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--json FILE] …\n`);
  process.exitCode = 2;
}

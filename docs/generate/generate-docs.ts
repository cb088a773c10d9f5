// `npm run docs`: writes the files that are generated from the source. With --check it writes nothing and
// fails when one is stale.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import * as prettier from 'prettier';
import { parseDaemonFlags } from '../../daemon/config/flags.js';
import { cliPage, configurationPage, exampleConfig, metricsPage, schemaFile } from './pages.js';

/** The repository, seen from dist/docs/generate. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Every generated file's content by its path in the repository. */
export async function generatedFiles(): Promise<Map<string, string>> {
  const raw = new Map([
    ['docs/configuration.md', configurationPage()],
    ['docs/metrics.md', metricsPage()],
    ['docs/cli.md', cliPage(parseDaemonFlags(['--help']).print ?? '')],
    ['config/lhsm-azblob.schema.json', schemaFile()],
  ]);
  const options = await prettier.resolveConfig(path.join(ROOT, 'package.json'));
  const formatted = new Map([['config/lhsm-azblob.toml', exampleConfig()]]);
  for (const [file, text] of raw) {
    formatted.set(file, await prettier.format(text, { ...options, filepath: file }));
  }
  return formatted;
}

/** The files whose content on disk is not what the source says. */
export async function staleFiles(): Promise<string[]> {
  const stale: string[] = [];
  for (const [file, text] of await generatedFiles()) {
    const found = await readFile(path.join(ROOT, file), 'utf8').catch(() => undefined);
    if (found !== text) stale.push(file);
  }
  return stale;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = await staleFiles();
  if (process.argv.includes('--check')) {
    if (stale.length > 0) console.error(`Stale: ${stale.join(', ')}. Run npm run docs.`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    const texts = await generatedFiles();
    for (const file of stale) await writeFile(path.join(ROOT, file), texts.get(file) ?? '');
    console.log(stale.length > 0 ? `Written: ${stale.join(', ')}` : 'Nothing was stale.');
  }
}

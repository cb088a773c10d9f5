// `npm run demo`: the main job on one bare machine, against Azurite and the simulated Lustre. It shows what it does,
// compares every byte, and exits non-zero on any difference. `--keep` leaves it all running to play with, `--https`
// has Azurite speak TLS.
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { Site } from '../helpers/site.js';
import type { Daemon } from '../helpers/daemon.js';
import { repositoryRoot } from '../lustre-sim/build.js';

const MIB = 1024 * 1024;
const SMALL_FILES = 200;
const ODD_NAME = 'odd names/a b %41 #1 🧪.dat';

interface Row {
  readonly step: string;
  readonly files: number;
  readonly bytes: number;
  readonly ms: number;
  readonly result: string;
}

let differences = 0;
const rows: Row[] = [];

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Notes what should hold; a thing that does not makes the demo fail. */
function expect(holds: boolean, what: string): void {
  if (holds) return;
  differences += 1;
  say(`  DIFFERENCE: ${what}`);
}

async function timed(
  step: string,
  files: readonly string[],
  site: Site,
  work: () => Promise<string>,
): Promise<void> {
  const begun = performance.now();
  const result = await work();
  const bytes = files.reduce((sum, file) => sum + statSync(site.path(file)).size, 0);
  rows.push({ step, files: files.length, bytes, ms: performance.now() - begun, result });
}

/** The files to play with, by name; answers the SHA-256 of each. */
function writeFiles(site: Site): Map<string, string> {
  mkdirSync(site.path('small'));
  mkdirSync(site.path('odd names'));
  const sums = new Map<string, string>();
  const write = (name: string, bytes: Buffer): void => {
    writeFileSync(site.path(name), bytes);
    sums.set(name, sha256(bytes));
  };
  write('empty', Buffer.alloc(0));
  write('one byte', Buffer.from('x'));
  for (let n = 0; n < SMALL_FILES; n += 1) write(`small/${String(n).padStart(3, '0')}`, randomBytes(4096));
  write('large', randomBytes(64 * MIB));
  write(ODD_NAME, randomBytes(12_345));
  const sparse = Buffer.alloc(32 * MIB);
  const island = randomBytes(MIB);
  island.copy(sparse, 16 * MIB);
  const fd = openSync(site.path('sparse'), 'w');
  writeSync(fd, island, 0, island.length, 16 * MIB);
  ftruncateSync(fd, sparse.length);
  closeSync(fd);
  sums.set('sparse', sha256(sparse));
  return sums;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function showBlobs(site: Site): Promise<void> {
  say('\nBlobs in the container (the first of each kind), as any tool sees them:');
  let small = 0;
  for await (const blob of site.container.listBlobsFlat({ includeMetadata: true })) {
    if (blob.name.startsWith('small/') && (small += 1) > 1) continue;
    const metadata = Object.entries(blob.metadata ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(' ');
    say(`  ${JSON.stringify(blob.name)}  ${blob.properties.contentLength ?? 0} bytes  ${metadata}`);
  }
}

async function readBack(site: Site, sums: ReadonlyMap<string, string>): Promise<void> {
  // The kernel blocks each read until its file is back, so read many at a time, as an application on many cores does.
  const names = [...sums.keys()];
  const readers = Array.from({ length: 16 }, async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      expect(sha256(await site.read(name)) === sums.get(name), `the content of ${name} differs`);
    }
  });
  await Promise.all(readers);
}

async function cancelRestore(site: Site): Promise<string> {
  await site.hsm('release', site.path('large'));
  site.gate.hold();
  const reader = site.read('large').then(
    () => 'read it all',
    (error: unknown) => String((error as { stderr?: unknown }).stderr).trim(),
  );
  await site.gate.held(1);
  await site.lfs('hsm_cancel', site.path('large'));
  const answer = await reader;
  site.gate.open();
  await site.drained();
  expect(answer.includes('No data available'), `the reader of a cancelled restore saw: ${answer}`);
  expect(
    (await site.state(site.path('large'))).includes('released'),
    'the file of a cancelled restore is not released',
  );
  return 'reader told ENODATA, file still released';
}

async function removeCopy(site: Site): Promise<string> {
  await site.hsm('remove', site.path('one byte'));
  expect(!(await site.container.getBlobClient('one byte').exists()), 'the removed blob is still there');
  expect((await site.read('one byte')).toString() === 'x', 'the file of a removed copy differs');
  return 'blob gone, file intact';
}

function table(): string {
  const head = ['step', 'files', 'MiB', 'seconds', 'files/s', 'MiB/s', 'result'];
  const body = rows.map(({ step, files, bytes, ms, result }) => [
    step,
    String(files),
    (bytes / MIB).toFixed(1),
    (ms / 1000).toFixed(2),
    ((files / ms) * 1000).toFixed(0),
    ((bytes / MIB / ms) * 1000).toFixed(0),
    result,
  ]);
  const widths = head.map((_, at) => Math.max(...[head, ...body].map((row) => row[at]?.length ?? 0)));
  return [head, ...body]
    .map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '))
    .join('\n');
}

async function metrics(daemon: Daemon): Promise<string> {
  const { address } = await daemon.log((line) => typeof line['address'] === 'string');
  const text = await (await fetch(`http://${String(address)}/metrics`)).text();
  const wanted = /^lhsm_azblob_(actions_total|transferred_bytes_total|build_info|registered|throttles_total)/;
  return text
    .split('\n')
    .filter((line) => wanted.test(line))
    .join('\n');
}

function howToPlay(site: Site, daemon: Daemon): string {
  const cli = `${repositoryRoot()}/dist/daemon/cli/main.js`;
  return [
    '\nEverything keeps running. To play on, in another terminal:',
    `  export PATH=${site.sim.build.dir}:$PATH     # the simulator's lfs and lctl`,
    `  cd ${site.mount}`,
    '  echo hello > hello; lfs hsm_archive hello; lfs hsm_release hello; lfs hsm_state hello; cat hello',
    `  node ${cli} --socket ${daemon.dir}/run/*/admin.sock status`,
    'Ctrl-C ends and removes it all.',
  ].join('\n');
}

async function main(): Promise<void> {
  const keep = process.argv.includes('--keep');
  const https = process.argv.includes('--https');
  say(`Starting Azurite${https ? ' over TLS' : ''}, a simulated Lustre (1 client node) and lhsm-azblobd …`);
  const site = await Site.start({ https });
  try {
    const daemon = await site.daemon();
    const sums = writeFiles(site);
    const names = [...sums.keys()];
    const paths = names.map((name) => site.path(name));
    await timed('archive', names, site, async () => {
      await site.hsm('archive', ...paths);
      return 'every file has its blob';
    });
    const states = await site.lfs('hsm_state', ...paths);
    expect(states.match(/exists archived/g)?.length === names.length, 'not every file is archived');
    await showBlobs(site);
    await timed('release', names, site, async () => {
      await site.hsm('release', ...paths);
      return 'content gone from Lustre';
    });
    await timed('read (restores)', names, site, async () => {
      await readBack(site, sums);
      return 'every checksum agrees';
    });
    expect(statSync(site.path('sparse')).blocks * 512 < 8 * MIB, 'the sparse file has lost its holes');
    await timed('cancel a restore', ['large'], site, () => cancelRestore(site));
    await timed('read it again', ['large'], site, async () => {
      expect(sha256(await site.read('large')) === sums.get('large'), 'the content of large differs');
      return 'restored after all';
    });
    await timed('remove a copy', ['one byte'], site, () => removeCopy(site));

    say(`\n${table()}\n\nFrom /metrics:\n${await metrics(daemon)}`);
    if (keep) {
      say(howToPlay(site, daemon));
      await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
    }
  } finally {
    await site.stop();
  }
  say(differences === 0 ? '\nNo difference.' : `\n${differences} differences.`);
  if (differences > 0) process.exitCode = 1;
}

await main();

// What the transfer bench measures as ours: moves the files of a list through the transfer engine, and exits. programs.ts
// starts it: transfer-child.js download|upload --url URL --query SAS --list FILE [--in-flight N] [--workers N] …
import { setMaxListeners } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { defaultBufferMib, defaults, defaultWorkers } from '../../daemon/config/defaults.js';
import { createTransferEngine } from '../../daemon/transfer/engine.js';
import { newCounters, type TransferEngine } from '../../daemon/transfer/transfer.js';

const MIB = 1024 ** 2;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: '' },
    query: { type: 'string', default: '' },
    list: { type: 'string', default: '/dev/null' },
    ca: { type: 'string' },
    'in-flight': { type: 'string', default: '64' },
    ranges: { type: 'string' },
    workers: { type: 'string' },
    'reuse-files': { type: 'boolean', default: false },
    report: { type: 'string' },
  },
});

/** The engine with the configuration's defaults. Not through the configuration: reading that is not the engine's work. */
function newEngine(): TransferEngine {
  const { transfer } = defaults;
  const workers = values.workers === undefined ? defaultWorkers() : Number(values.workers);
  return createTransferEngine({
    workers,
    blockSizeBytes: transfer.block_size_mib * MIB,
    putBlobMaxBytes: transfer.put_blob_max_mib * MIB,
    rangesPerFile: Number(values.ranges ?? transfer.ranges_per_file),
    maxRequests: transfer.max_requests,
    maxBufferBytes: defaultBufferMib(workers) * MIB,
    maxTries: transfer.max_tries,
    retryForMs: transfer.retry_for_s * 1000,
    stallTimeoutMs: transfer.stall_timeout_s * 1000,
    caFile: values.ca,
  });
}

interface Item {
  readonly blob: string;
  readonly sizeBytes: number;
  readonly path: string;
}

/** The items of the list one by one: hundreds of thousands of them in memory would be what is measured. */
class List {
  readonly #bytes = readFileSync(values.list);
  #at = 0;

  /** Lines. */
  get length(): number {
    let lines = 0;
    for (let at = this.#bytes.indexOf(10); at >= 0; at = this.#bytes.indexOf(10, at + 1)) lines += 1;
    return lines;
  }

  next(): Item | undefined {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end < 0) return undefined;
    const [blob = '', bytes = '', path = ''] = this.#bytes.toString('utf8', this.#at, end).split('\t');
    this.#at = end + 1;
    return { blob, sizeBytes: Number(bytes), path };
  }
}

const isUpload = positionals[0] === 'upload';
const signal = new AbortController().signal;
setMaxListeners(0, signal);
const auth = { kind: 'sas', query: () => values.query } as const;

async function move(engine: TransferEngine, item: Item, path: string): Promise<void> {
  const { sizeBytes } = item;
  const blob = { url: `${values.url}/${item.blob}`, auth };
  // In a tmpfs these take less than a trip to a thread; in the agent, threads of its own open and close files.
  const fd = openSync(path, isUpload ? 'r' : 'w');
  try {
    const common = { blob, fd, sizeBytes, counters: newCounters() };
    if (isUpload) {
      const beforeCommit = (): Promise<void> => Promise.resolve();
      await engine.upload({ ...common, metadata: {}, expected: undefined, beforeCommit }, signal);
    } else {
      const accept = (): void => undefined;
      await engine.download({ ...common, accept }, signal);
    }
  } finally {
    closeSync(fd);
  }
}

const list = new List();
const count = list.length;
const quarter = Math.ceil(count / 4);
let done = 0;
let rssAtQuarterMiB = 0;

async function work(engine: TransferEngine, slot: number): Promise<void> {
  for (let item = list.next(); item; item = list.next()) {
    await move(engine, item, values['reuse-files'] ? `${values.list}.${slot}` : item.path);
    done += 1;
    if (done === quarter) rssAtQuarterMiB = process.memoryUsage.rss() / MIB;
  }
}

const engine = newEngine();
const loops = Math.min(Number(values['in-flight']), count);
await Promise.all(Array.from({ length: loops }, (_, slot) => work(engine, slot)));
const rssAtEndMiB = process.memoryUsage.rss() / MIB;
await engine.close();
if (values.report !== undefined)
  writeFileSync(values.report, JSON.stringify({ done, rssAtQuarterMiB, rssAtEndMiB }));

// How actions begin: with which MDT, with which flags, and what they are given to move the content through.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { CopytoolAction } from '../../../native-bindings/constants.js';
import type {
  ActionItem,
  BeginOptions,
  CopyAction,
  FileAttributes,
  FileLook,
} from '../../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../../../daemon/blobs/archive-container.js';
import { parseConfig } from '../../../daemon/config/load.js';
import { AgentEmitter } from '../../../daemon/events.js';
import { Action, type ActionTools } from '../../../daemon/hsm/action.js';
import { Share } from '../../../daemon/share.js';
import { BytesGate } from '../../../daemon/hsm/bytes-gate.js';
import { Journal } from '../../../daemon/hsm/journal.js';
import { MEMORY_XATTRS } from '../../../daemon/movers/file-record.js';
import type { Mover, MoverJob, MoverTools } from '../../../daemon/movers/mover.js';
import { MINIMAL } from '../config/helpers.js';
import { FakeCopytool, makeItem } from './fake-coordinator.js';

const { ARCHIVE, RESTORE, REMOVE } = CopytoolAction;
const MOUNT_FD = 77;
const LOOK: FileLook = { attributes: {} as FileAttributes, xattrs: [undefined, undefined] };

/** Remembers the options of every begin. */
class Recorder extends FakeCopytool {
  readonly options: BeginOptions[] = [];

  override async begin(raw: Buffer, options: BeginOptions = {}): Promise<CopyAction> {
    this.options.push(options);
    return { ...(await super.begin(raw, options)), ...(options.look ? { look: LOOK } : {}) };
  }
}

/** Carries one item out; answers what was begun and given to the mover. */
async function carryOut(t: Test, item: ActionItem): Promise<{ copytool: Recorder; jobs: MoverJob[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-begin-'));
  const events = new AgentEmitter();
  const { journal } = Journal.open(join(dir, 'journal'), events);
  t.teardown(() => {
    journal.close();
    rmSync(dir, { recursive: true });
  });
  const copytool = new Recorder();
  const jobs: MoverJob[] = [];
  const mover: Mover = (job) => {
    jobs.push(job);
    return Promise.resolve({ blob: 'name', sizeBytes: 1n });
  };
  const tools: ActionTools = {
    copytool: () => copytool,
    mountFd: MOUNT_FD,
    journal,
    events,
    log: pino({ level: 'silent' }),
    container: () => ({ archiveId: 1 }) as ArchiveContainer,
    movers: { archive: mover, restore: mover, remove: mover },
    moverTools: () => ({}) as MoverTools,
    gates: { archive: new BytesGate(1e9), restore: new BytesGate(1e9) },
    timings: () => ({ heartbeatMs: 1e9, restoreFirstProgressMs: 1e9 }),
    bulk: new Share(100),
    giveUp: new AbortController().signal,
    onError: () => undefined,
  };
  await new Action({ item, archiveId: 1, flags: 0n, receivedAtMs: performance.now() }, tools).run();
  t.match(copytool.ended, [{ errno: 0 }]);
  return { copytool, jobs };
}

t.test('a restore begins on the MDT of its file, and what has data opens it in the same go', async (t) => {
  for (const [action, options] of [
    [RESTORE, { opensData: true, mountFd: MOUNT_FD, look: MEMORY_XATTRS }],
    [ARCHIVE, { opensData: true }],
    [REMOVE, { opensData: false }],
  ] as const) {
    const { copytool } = await carryOut(t, makeItem(action));
    t.same(copytool.options, [options]);
  }
});

t.test('content moves through the descriptor that begin gave, a remove has none', async (t) => {
  for (const action of [ARCHIVE, RESTORE, REMOVE]) {
    const { copytool, jobs } = await carryOut(t, makeItem(action));
    t.same(
      jobs.map(({ fd }) => fd),
      action === REMOVE ? [-1] : copytool.fds,
    );
  }
});

t.test('what begin has seen of the file is given to the mover', async (t) => {
  const { jobs } = await carryOut(t, makeItem(RESTORE));
  t.same(
    jobs.map(({ look }) => look),
    [LOOK],
  );
});

t.test('by default a restore keeps quiet for minutes, and beats well before its request times out', (t) => {
  const { restoreFirstProgressMs, heartbeatMs, activeRequestTimeoutMs } = parseConfig(MINIMAL, 'test.toml', {
    env: {},
  }).hsm;
  t.ok(restoreFirstProgressMs >= 300_000, 'a restart of the daemon takes less');
  t.ok(restoreFirstProgressMs + heartbeatMs < activeRequestTimeoutMs / 2);
  t.end();
});

// An AgentControl without an agent, for the tests of control/ and cli/: what it is asked is recorded.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { adminSocket } from '../../../daemon/config/mount-name.js';
import { startAdmin } from '../../../daemon/control/admin.js';
import type { AgentControl, AgentStatus, KindTotals } from '../../../daemon/control/agent-control.js';
import type { DoctorReport } from '../../../daemon/doctor/doctor-report.js';
import { AgentEmitter } from '../../../daemon/events.js';
import type { KnownAgent } from '../../../daemon/jobs/agent-board.js';
import { createMetrics } from '../../../daemon/metrics.js';
import { FakeJobs } from './fake-jobs.js';
import { FakeOperations } from './fake-operations.js';

const none: KindTotals = { succeeded: 0, failed: 0, canceled: 0, retry: 0, bytes: 0 };

const still = { actionsPerSecond: 0, bytesPerSecond: 0 };

export const STATUS: AgentStatus = {
  version: '1.2.3',
  pid: 4711,
  mount: '/mnt/lustre',
  fsname: 'lustre',
  state: 'running',
  registered: true,
  uptimeMs: 93_784_000,
  archives: [
    {
      id: 1,
      container: 'https://acct.blob.core.windows.net/cold',
      prefix: 'fs1/',
      ready: true,
      problem: undefined,
    },
  ],
  lanes: [
    { ...still, lane: 'restore', queued: 0, running: 1, oldestQueuedMs: undefined },
    { ...still, lane: 'remove', queued: 0, running: 0, oldestQueuedMs: undefined },
    {
      lane: 'archive',
      queued: 1234,
      running: 48,
      oldestQueuedMs: 65_000,
      actionsPerSecond: 12.5,
      bytesPerSecond: 3 * 2 ** 30,
    },
  ],
  inFlight: [
    {
      fid: '[0x200000401:0x1:0x0]',
      cookie: '0x6b02a920',
      kind: 'restore',
      archiveId: 1,
      blob: 'fs1/dir/a file',
      ageMs: 2_500,
      bytes: 512 * 2 ** 20,
      sizeBytes: 2 ** 30,
      blocking: true,
    },
  ],
  totals: {
    archive: { ...none, succeeded: 20_000, failed: 1, bytes: 3 * 2 ** 40 },
    restore: { ...none, succeeded: 7 },
    remove: none,
    cancel: none,
    unknown: none,
  },
  lastErrors: [
    {
      time: '2026-01-02T03:04:05.000Z',
      fid: '[0x200000401:0x2:0x0]',
      cookie: '0x6b02a921',
      kind: 'archive',
      code: 'FORBIDDEN',
      errno: 'EACCES',
      message: 'Put Blob was refused https://a/b?sv=1&sig=c2VjcmV0',
      hint: 'Check the role.',
    },
  ],
  journal: { items: 49, sizeBytes: 8192 },
  job: undefined,
  operations: [],
};

/** What a test changes as it goes, and what it looks at. */
export class FakeControl implements AgentControl {
  readonly jobs = new FakeJobs();
  readonly operations = new FakeOperations();
  readonly doctor = {
    report: {
      mount: '/mnt/lustre',
      fsname: 'lustre',
      archiveIds: [1],
      checks: ['all'],
      findings: [],
    } as DoctorReport,
    probed: [] as (string | undefined)[],
    examine(): Promise<DoctorReport> {
      return Promise.resolve(this.report);
    },
    probe(directory: string | undefined): Promise<DoctorReport> {
      this.probed.push(directory);
      return Promise.resolve(this.report);
    },
  };
  current: AgentStatus = STATUS;
  level = 'info';
  /** What reregister and reload reject with. */
  failure: Error | undefined;
  readonly calls: string[] = [];

  /** Of the file system, or why they are not known. */
  others: readonly KnownAgent[] | Error = [];

  agents(): Promise<readonly KnownAgent[]> {
    return this.others instanceof Error ? Promise.reject(this.others) : Promise.resolve(this.others);
  }

  status(): AgentStatus {
    return this.current;
  }

  config(): Readonly<Record<string, unknown>> {
    return { mount: this.current.mount, archive: [{ id: 1, credential: { type: 'sas', file: '/etc/sas' } }] };
  }

  reregister(): Promise<{ registered: boolean; archiveIds: readonly number[] }> {
    this.calls.push('reregister');
    if (this.failure) return Promise.reject(this.failure);
    return Promise.resolve({ registered: true, archiveIds: [1, 2] });
  }

  reload(): Promise<{ applied: readonly string[]; needRestart: readonly string[] }> {
    this.calls.push('reload');
    if (this.failure) return Promise.reject(this.failure);
    return Promise.resolve({ applied: ['log.level'], needRestart: ['library'] });
  }

  logLevel(): string {
    return this.level;
  }

  setLogLevel(level: string): void {
    this.level = level;
  }
}

/** Metrics without process metrics; close them. */
export function fakeMetrics(control: AgentControl) {
  return createMetrics({
    events: new AgentEmitter(),
    version: '1.2.3',
    source: () => control.status(),
    processMetrics: false,
  });
}

/** An admin API over a control that is scripted, in a folder of the test's own. */
export async function serveControl(t: Test): Promise<{ control: FakeControl; dir: string; socket: string }> {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  const dir = shortDir(t);
  const socket = adminSocket(dir, '/mnt/lustre');
  const server = await startAdmin({ socket, control, metrics });
  t.teardown(async () => {
    await server.close();
    metrics.close();
  });
  return { control, dir, socket };
}

/** A folder of the test's own with a short name: a socket's path has 107 bytes at most. */
export function shortDir(t: Test): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'lhsm-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

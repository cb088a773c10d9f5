// The state of jobs on the local disk: kept, cleared, and no obstacle when it is damaged.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { jobsFolder, LocalState } from '../../../daemon/jobs/local-state.js';

function scratch(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-jobs-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  return dir;
}

const job = { name: 'job', kind: 'import', id: 'i', leaseId: 'l' } as const;

t.test('the current job is there for the next process until it is cleared', (t) => {
  const folder = jobsFolder(scratch(t), '/mnt/my-fs');
  t.match(folder, /mnt-my\\x2dfs\/jobs$/);
  const state = new LocalState(folder);
  t.same(state.read(), { current: undefined });
  state.clear();
  state.write(job);
  state.write({ ...job, name: 'later' });
  t.same(new LocalState(folder).read(), { current: { ...job, name: 'later' } });
  t.same(readdirSync(folder), ['current.json']);
  state.clear();
  t.same(state.read(), { current: undefined });
  t.end();
});

t.test('a damaged file is moved aside', (t) => {
  const state = new LocalState(join(scratch(t), 'jobs'));
  for (const text of ['', '{', 'null', '{}', JSON.stringify({ ...job, kind: 'dance' })]) {
    state.write(job);
    const path = join(state.folder, 'current.json');
    writeFileSync(path, text);
    const damaged = `${path}.damaged`;
    t.same(state.read(), { current: undefined, damaged });
    t.equal(readFileSync(damaged, 'utf8'), text);
    t.notOk(existsSync(path));
    t.same(state.read(), { current: undefined });
  }
  t.end();
});

t.test('a folder that cannot be used is named', (t) => {
  const file = join(scratch(t), 'file');
  writeFileSync(file, '');
  const state = new LocalState(join(file, 'jobs'));
  const error = { code: 'JOB_STATE', message: /current\.json \(ENOTDIR\)/, hint: /state_dir/ };
  t.throws(() => state.read(), error);
  t.throws(() => {
    state.write(job);
  }, error);
  t.throws(() => {
    state.clear();
  }, error);
  t.end();
});

// test/setup-debian.sh with stand-ins for id and apt-get: it installs what is missing, or names the command.
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';

const SCRIPT = path.join(import.meta.dirname, '../../../test/setup-debian.sh');

/** Runs the script in a world that has only the given programs. */
function setUp(t: Test, programs: Record<string, string>) {
  const dir = t.testdir({});
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(path.join(dir, name), `#!/bin/sh\n${body}\n`);
    chmodSync(path.join(dir, name), 0o755);
  }
  const { status, stderr } = spawnSync('/bin/sh', [SCRIPT], {
    env: { PATH: dir, DIR: dir },
    encoding: 'utf8',
  });
  return { status, stderr, read: (file: string) => readFileSync(path.join(dir, file), 'utf8') };
}

t.test('without root it fails and names the exact command', (t) => {
  const { status, stderr } = setUp(t, { id: 'echo 1000', 'apt-get': 'exit 9' });
  t.equal(status, 1);
  t.match(stderr, /Run as root: apt-get install -y --no-install-recommends .*\bfuse3\b/);
  t.end();
});

t.test('as root it installs what is missing, and fetches the package lists only when it must', (t) => {
  const note = 'echo "$@" >> "$DIR/calls"';
  const direct = setUp(t, { id: 'echo 0', 'apt-get': note });
  t.equal(direct.status, 0);
  t.match(direct.read('calls'), /^install -y --no-install-recommends .*fuse3.*\n$/);
  const stale = setUp(t, {
    id: 'echo 0',
    'apt-get': `${note}\n[ -e "$DIR/updated" ] || [ "$1" = update ] || exit 100\n: > "$DIR/updated"`,
  });
  t.equal(stale.status, 0);
  t.match(stale.read('calls'), /^install .*\nupdate -q\ninstall .*\n$/);
  t.end();
});

t.test('when apt-get fails, so does the script', (t) => {
  t.equal(setUp(t, { id: 'echo 0', 'apt-get': 'exit 100' }).status, 100);
  t.end();
});

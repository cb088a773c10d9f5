// The threads of bodies and small gets, without Node: whoever hangs, or waits, holds up no other work.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { realpathSync } from 'node:fs';
import t from 'tap';
import { scratchFolder } from '../helpers/scratch.js';
import { fixture, gcc, root } from './helpers.js';

t.test('work that hangs or waits again and again holds up nobody', (t) => {
  const native = join(root, 'native-bindings');
  const headers = join(dirname(realpathSync(process.execPath)), '../include/node');
  const harness = gcc(
    join(scratchFolder('lhsm-work-threads-'), 'harness'),
    ...['-std=gnu11', '-O2', '-pthread', '-DNAPI_VERSION=8', '-I', native, '-isystem', headers],
    ...[fixture('work-threads-harness.c'), join(native, 'work-threads.c')],
  );
  t.equal(execFileSync(harness, { encoding: 'utf8' }), 'ok\n');
  t.end();
});

// The struct tables against a C compiler: sizes, offsets and numbers of the same names, from the real headers
// where they are installed, else from the simulator's own.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as numbers from '../../native-bindings/constants.js';
import { layouts, statArch, statLayouts } from '../../native-bindings/layouts.js';
import { linux } from '../../native-bindings/libc.js';
import { fixture, gcc, root } from './helpers.js';

const header = existsSync('/usr/include/lustre/lustreapi.h') ? 'the real headers' : "the simulator's header";

t.test(`structs and numbers are those of ${header}`, (t) => {
  const program = gcc(
    join(t.testdir(), 'struct-layout'),
    `-I${join(root, 'test/lustre-sim')}`,
    fixture('struct-layout.c'),
  );
  const facts = new Map(
    execFileSync(program, { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  );
  const check = (name: string, value: number | bigint): void => {
    t.equal(facts.get(name), value.toString(), name);
    facts.delete(name);
  };
  for (const [struct, { size, fields }] of Object.entries({ ...layouts, stat: statLayouts[statArch()] })) {
    // Only the real headers have this one.
    if (struct === 'll_futimes_3' && !facts.has('sizeof.ll_futimes_3')) continue;
    check(`sizeof.${struct}`, size);
    for (const [field, offset] of Object.entries(fields)) check(`${struct}.${field}`, offset);
  }
  const prefixed: [string, Readonly<Record<string, number | bigint>>][] = [
    ['HSMA_', numbers.CopytoolAction],
    ['HUA_', numbers.UserAction],
    ['HS_', numbers.HsmStateFlag],
    ['HP_FLAG_', numbers.ProgressFlag],
    ['HPS_', numbers.ProgressState],
    ['', linux],
  ];
  for (const [prefix, table] of prefixed) {
    for (const [name, value] of Object.entries(table)) check(prefix + name, value);
  }
  check('HSM_FORCE_ACTION', numbers.RequestFlag.FORCE);
  check('HSM_GHOST_COPY', numbers.RequestFlag.GHOST_COPY);
  check('HSM_REQ_BLOCKING', numbers.RequestFlag.BLOCKING);
  check('LL_DV_RD_FLUSH', numbers.DataVersionFlag.FLUSH_READERS);
  check('LL_DV_WR_FLUSH', numbers.DataVersionFlag.FLUSH_WRITERS);
  t.same([...facts.keys()], [], 'the program prints nothing that the tables lack');
  t.end();
});

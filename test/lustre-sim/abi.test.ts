// The library's binary interface: sizes and offsets of its structs, its functions, and what it needs to be loaded.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { buildLustreSim } from './build.js';
import { program } from './simtool.js';

const build = await buildLustreSim();

const layout: Record<string, { size: number; fields: Record<string, number> }> = {
  lu_fid: { size: 16, fields: { f_seq: 0, f_oid: 8, f_ver: 12 } },
  hsm_extent: { size: 16, fields: { offset: 0, length: 8 } },
  hsm_action_list: {
    size: 32,
    fields: {
      hal_version: 0,
      hal_count: 4,
      hal_compound_id: 8,
      hal_flags: 16,
      hal_archive_id: 24,
      hal_fsname: 32,
    },
  },
  hsm_action_item: {
    size: 72,
    fields: {
      hai_len: 0,
      hai_action: 4,
      hai_fid: 8,
      hai_dfid: 24,
      hai_extent: 40,
      hai_cookie: 56,
      hai_gid: 64,
      hai_data: 72,
    },
  },
  hsm_user_state: {
    size: 32,
    fields: {
      hus_states: 0,
      hus_archive_id: 4,
      hus_in_progress_state: 8,
      hus_in_progress_action: 12,
      hus_in_progress_location: 16,
    },
  },
  hsm_current_action: { size: 24, fields: { hca_state: 0, hca_action: 4, hca_location: 8 } },
  hsm_request: {
    size: 24,
    fields: { hr_action: 0, hr_archive_id: 4, hr_flags: 8, hr_itemcount: 16, hr_data_len: 20 },
  },
  hsm_user_item: { size: 32, fields: { hui_fid: 0, hui_extent: 16 } },
  hsm_user_request: { size: 24, fields: { hur_request: 0, hur_user_item: 24 } },
  changelog_rec: {
    size: 64,
    fields: {
      cr_namelen: 0,
      cr_flags: 2,
      cr_type: 4,
      cr_index: 8,
      cr_prev: 16,
      cr_time: 24,
      cr_tfid: 32,
      cr_pfid: 48,
    },
  },
  stat: {
    size: 144,
    fields: { st_mode: 24, st_uid: 28, st_gid: 32, st_size: 48, st_atim: 72, st_mtim: 88, st_ctim: 104 },
  },
};

t.test('sizes and offsets', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'abi-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const entries = Object.entries(layout).filter(([name]) => name !== 'stat' || process.arch === 'x64');
  const asserts = entries.flatMap(([name, { size, fields }]) => [
    `_Static_assert(sizeof(struct ${name}) == ${size}, "size of ${name}");`,
    ...Object.entries(fields).map(
      ([field, offset]) =>
        `_Static_assert(offsetof(struct ${name}, ${field}) == ${offset}, "${name}.${field}");`,
    ),
  ]);
  const source = join(dir, 'abi.c');
  await writeFile(source, `#include <stddef.h>\n#include "lustreapi.h"\n${asserts.join('\n')}\n`);
  t.match(
    await program('gcc', '-std=gnu11', '-I', build.include, '-c', source, '-o', join(dir, 'abi.o')).result,
    {
      code: 0,
      stderr: '',
    },
  );
});

t.test('the library exports llapi_* and nothing else, under the real soname', async (t) => {
  const { stdout } = await program('nm', '-D', '--defined-only', build.lib).result;
  const names = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[2] ?? '');
  t.strictSame(
    names.filter((name) => !name.startsWith('llapi_')),
    [],
  );
  for (const name of [
    'llapi_hsm_copytool_register',
    'llapi_hsm_action_begin',
    'llapi_hsm_import',
    'llapi_fid2path',
  ]) {
    t.ok(names.includes(name), name);
  }
  t.match((await program('readelf', '-d', build.lib).result).stdout, /soname: \[liblustreapi\.so\.1\]/);
});

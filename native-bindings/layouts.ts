// Sizes and offsets of the C structs, under the names that lustre_user.h, lustreapi.h and glibc's bits/struct_stat.h and bits/types/struct_statx.h
// use. structs.ts reads and writes by them; test/native-bindings/struct-layout.c compares them with a compiler's.
import { LhsmError } from './errors.js';

/** Sizes and offsets in bytes, under the names that the headers use. */
export const layouts = {
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
  statx: {
    size: 256,
    fields: {
      stx_nlink: 16,
      stx_uid: 20,
      stx_gid: 24,
      stx_mode: 28,
      stx_ino: 32,
      stx_size: 40,
      stx_blocks: 48,
      stx_atime: 64,
      stx_ctime: 96,
      stx_mtime: 112,
      stx_dev_major: 136,
      stx_dev_minor: 140,
    },
  },
  ll_futimes_3: {
    size: 48,
    fields: {
      lfu_atime_sec: 0,
      lfu_atime_nsec: 8,
      lfu_mtime_sec: 16,
      lfu_mtime_nsec: 24,
      lfu_ctime_sec: 32,
      lfu_ctime_nsec: 40,
    },
  },
} as const;

/** struct stat of glibc by process.arch (bits/struct_stat.h). */
export const statLayouts = {
  x64: {
    size: 144,
    fields: { st_mode: 24, st_uid: 28, st_gid: 32, st_size: 48, st_atim: 72, st_mtim: 88, st_ctim: 104 },
  },
  arm64: {
    size: 128,
    fields: { st_mode: 16, st_uid: 24, st_gid: 28, st_size: 48, st_atim: 72, st_mtim: 88, st_ctim: 104 },
  },
} as const;

export type StatArch = keyof typeof statLayouts;

/** The layout for this process. Throws LhsmError where there is none. */
export function statArch(arch: string = process.arch): StatArch {
  if (arch === 'x64' || arch === 'arm64') return arch;
  throw new LhsmError(`The processor ${arch} is not supported, only x64 and arm64.`, {
    code: 'ENOTSUP',
    op: 'statArch',
  });
}

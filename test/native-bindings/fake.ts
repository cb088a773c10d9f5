// The test's side of fake-lustreapi.c: compiles it, tells it what to deliver and when to fail.
import { join } from 'node:path';
import type { Test } from 'tap';
import { type CFunction, loadLibrary, Memory } from '../../native-bindings/ffi.js';
import { loadLustre } from '../../native-bindings/liblustreapi.js';
import type { ActionItem, Lustre } from '../../native-bindings/lustre.js';
import { encodeActionList } from '../../native-bindings/structs.js';
import { fixture, gcc } from './helpers.js';

const signatures = {
  fake_push: { result: 'void', args: ['ptr', 'i32', 'i32'] },
  fake_fail: { result: 'void', args: ['ptr', 'i32', 'i32'] },
  fake_called: { result: 'void', args: ['ptr', 'i32'] },
  fake_delay: { result: 'void', args: ['i32'] },
  fake_hang_up: { result: 'void', args: [] },
  fake_pipe: { result: 'i32', args: [] },
  fake_misuses: { result: 'i32', args: [] },
  fake_most_inflight: { result: 'i32', args: [] },
  fake_main_thread_calls: { result: 'i32', args: [] },
  fake_errno: { result: 'i32', args: ['i32'] },
  fake_u64: { result: 'u64', args: ['u64', 'i64', 'u32', 'i32'] },
} as const;

const TEXT_BYTES = 4096;

export class Fake {
  readonly functions: { readonly [K in keyof typeof signatures]: CFunction };
  readonly lustre: Lustre;

  private constructor(readonly library: string) {
    this.functions = loadLibrary(library, signatures, { missing: '', symbols: '' });
    this.lustre = loadLustre({ library });
  }

  static build(t: Test): Fake {
    const output = join(t.testdir(), 'fake-lustreapi.so');
    return new Fake(gcc(output, '-shared', '-fPIC', '-pthread', fixture('fake-lustreapi.c')));
  }

  /** Puts bytes in the receive pipe; with `errno`, recv fails with it instead. */
  push(bytes: Buffer, errno = 0): void {
    const memory = Memory.allocate(bytes.length);
    bytes.copy(memory.bytes);
    this.functions.fake_push.int(memory, bytes.length, errno);
  }

  /** The next `times` calls of the function return -errno. */
  fail(name: string, errno: number, times = 1): void {
    const text = Memory.allocate(name.length + 1);
    text.bytes.write(name);
    this.functions.fake_fail.int(text, errno, times);
  }

  /** What the last call was called with. */
  get called(): string {
    const text = Memory.allocate(TEXT_BYTES);
    this.functions.fake_called.int(text, TEXT_BYTES);
    return text.bytes.toString('utf8', 0, text.bytes.indexOf(0));
  }

  get misuses(): number {
    return this.functions.fake_misuses.int();
  }
}

/** A list of one ARCHIVE item for each cookie. */
export function listOf(...cookies: readonly bigint[]): Buffer {
  return encodeActionList({
    version: 1,
    compoundId: 0n,
    flags: 0n,
    archiveId: 1,
    fsname: 'lustre',
    items: cookies.map((cookie) => itemOf(cookie)),
  });
}

export function itemOf(cookie: bigint, data = ''): Omit<ActionItem, 'raw'> {
  const fid = { seq: 0x200000401n, oid: Number(cookie & 0xffffn), ver: 0 };
  return {
    action: 20,
    fid,
    dfid: fid,
    extent: { offset: 0n, length: 0xffffffffffffffffn },
    cookie,
    gid: 0n,
    data: Buffer.from(data),
  };
}

// The few things of the operating system that Node lacks and the daemon needs. libc.ts implements it.

/** Local calls; each throws LhsmError carrying the errno and the C function's name. */
export interface HostOs {
  /** The offset of the next data at or after `offset` (lseek SEEK_DATA); undefined when only a hole is left. */
  nextData(fd: number, offset: bigint): bigint | undefined;
  /** The offset of the next hole at or after `offset` (lseek SEEK_HOLE); the end of the file is one. */
  nextHole(fd: number, offset: bigint): bigint;
  /** Takes an exclusive flock without waiting; false when another process holds it. */
  tryLock(fd: number): boolean;
  /** Tells systemd (sd_notify(3)): `READY=1`, say. False when NOTIFY_SOCKET is not set. */
  sdNotify(state: string): boolean;
}

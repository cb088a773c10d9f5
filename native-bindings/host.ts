// The few things of the operating system that Node lacks and the daemon needs. libc.ts implements it.

/** Each method throws or rejects with LhsmError carrying the errno and the C function's name. */
export interface HostOs {
  /**
   * The offset of the next data at or after `offset` (lseek SEEK_DATA); undefined when only a hole or nothing
   * is left. On Lustre this asks the OSTs, so it is asynchronous. It moves the descriptor's file position.
   */
  nextData(fd: number, offset: bigint): Promise<bigint | undefined>;
  /**
   * The offset of the next hole at or after `offset` (lseek SEEK_HOLE); the end of the file is one.
   * Rejects with ENXIO at or beyond the end. It moves the descriptor's file position.
   */
  nextHole(fd: number, offset: bigint): Promise<bigint>;
  /** Takes an exclusive flock without waiting; false when another open file holds it. */
  tryLock(fd: number): boolean;
  /** Tells systemd (sd_notify(3)): `READY=1`, say. False when NOTIFY_SOCKET is not set or nobody listens. */
  sdNotify(state: string): boolean;
}

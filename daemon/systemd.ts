// The daemon's side of systemd's service protocol (sd_notify(3)): readiness, status line, watchdog.
import type { HostOs } from '../native-bindings/host.js';

/** Says nothing when there is no systemd (NOTIFY_SOCKET is not set). */
export class Systemd {
  readonly #host: HostOs;
  readonly #watchdogMs: number;
  #timer: NodeJS.Timeout | undefined;
  #ready = false;

  constructor(host: HostOs, env: Readonly<Record<string, string | undefined>> = process.env) {
    this.#host = host;
    // The watchdog is for another process when WATCHDOG_PID says so (sd_watchdog_enabled(3)).
    const ours = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === process.pid;
    this.#watchdogMs = ours ? Number(env['WATCHDOG_USEC'] ?? 0) / 1000 : 0;
  }

  /** Starts to feed the watchdog from the event loop: a loop that is stuck starves it. */
  startWatchdog(): void {
    if (!(this.#watchdogMs > 0)) return;
    this.#timer = setInterval(() => this.#host.sdNotify('WATCHDOG=1'), this.#watchdogMs / 3);
    this.#timer.unref();
  }

  /** `STATUS=` for `systemctl status`. */
  status(text: string): void {
    this.#host.sdNotify(`STATUS=${text.replaceAll('\n', ' ')}`);
  }

  /** `READY=1`, once. */
  ready(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#host.sdNotify('READY=1');
  }

  /**
   * Brackets a reload (Type=notify services without Type=notify-reload show it, too). Nothing while the daemon starts:
   * its READY is still to come.
   */
  reloading(): void {
    if (!this.#ready) return;
    const monotonicUs = process.hrtime.bigint() / 1000n;
    this.#host.sdNotify(`RELOADING=1\nMONOTONIC_USEC=${monotonicUs}`);
  }

  reloaded(): void {
    if (this.#ready) this.#host.sdNotify('READY=1');
  }

  stopping(): void {
    this.#host.sdNotify('STOPPING=1');
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

// How fast counts grow, over the last minute: for status documents and progress. The runner samples.

const WINDOW_MS = 60_000;

type Counts = Readonly<Record<string, number>>;

/** Remembers samples of the last minute: bounded by how often it is asked, which is every few seconds. */
export class Rates {
  readonly #samples: { readonly atMs: number; readonly counts: Counts }[] = [];
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes a sample, and answers growth a second of each count since the oldest one. */
  sample(counts: Counts): Record<string, number> {
    const atMs = this.#now();
    while (this.#samples[0] && this.#samples.length > 1 && atMs - this.#samples[0].atMs > WINDOW_MS) {
      this.#samples.shift();
    }
    const [oldest] = this.#samples;
    this.#samples.push({ atMs, counts: { ...counts } });
    const seconds = oldest ? (atMs - oldest.atMs) / 1000 : 0;
    return Object.fromEntries(
      Object.entries(counts).map(([key, value]) => {
        const before = oldest?.counts[key] ?? value;
        return [key, seconds > 0 ? Math.max(0, Math.round(((value - before) / seconds) * 10) / 10) : 0];
      }),
    );
  }
}

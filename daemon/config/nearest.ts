// The known word nearest to a mistyped one: for messages about keys, values and commands.

/** Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let least = Math.min(
        (next[column - 1] ?? 0) + 1,
        (last[column] ?? 0) + 1,
        (last[column - 1] ?? 0) + same,
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, (before[column - 2] ?? 0) + 1);
      }
      next.push(least);
    }
    before = last;
    last = next;
  }
  return last[b.length] ?? 0;
}

const bare = (word: string): string => word.toLowerCase().replaceAll(/[-_ ]/g, '');

/**
 * The candidate that was probably meant: few edits away, or the same but for its unit (`heartbeat` for
 * `heartbeat_s`); undefined when none is near.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = bare(word);
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const have = bare(candidate);
    const beginsAlike = wanted.length >= 4 && (have.startsWith(wanted) || wanted.startsWith(have));
    const unitless = bare(candidate.replace(/_(?:s|mib|gib)$/, ''));
    const distance = beginsAlike
      ? 0.5
      : Math.min(editDistance(wanted, have), editDistance(wanted, unitless) + 0.25);
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, have.length) / 3)) + 0.25;
    if (distance <= allowed && distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

// A map over many with so many calls at once. Whoever asks a service for many small things calls it.

/** The results in the order of `items`. After a failure nothing new begins; rejects with the first one when all have ended. */
export async function mapBounded<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  const rest = items.entries();
  let failure: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (const [at, item] of rest) {
      if (failure) return;
      try {
        results[at] = await run(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
  if (failure) throw failure.error;
  return results;
}

/**
 * The same where one call does for several: each takes an equal share of the items, `atOnce` calls at most, and gives as many
 * results in their order.
 */
export async function mapShares<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (share: readonly T[]) => Promise<readonly R[]>,
): Promise<R[]> {
  const size = Math.max(1, Math.ceil(items.length / atOnce));
  const shares = Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
  return (await mapBounded(shares, atOnce, run)).flat();
}

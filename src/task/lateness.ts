// Owns counting how late attempts were in buckets that may be added up over processes: each is 5 % wide, so that a quantile read from them is
// off by no more.

const growth = 1.05;

/** The bucket of a lateness: 0 for none, then each reaching 5 % further than the one before, from 1 ms on. */
export function latenessBucket(latenessMs: number): number {
  return latenessMs < 1 ? 0 : 1 + Math.floor(Math.log(latenessMs) / Math.log(growth));
}

/** The lateness in whole ms that `share` of those counted did not exceed (at the lower end of its bucket); null where none was counted. */
export function latenessQuantile(counts: ReadonlyMap<number, number>, share: number): number | null {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [bucket, count] of [...counts].toSorted(([one], [other]) => one - other)) {
    below += count;
    if (below >= share * total) return bucket === 0 ? 0 : Math.round(growth ** (bucket - 1));
  }
  return null;
}

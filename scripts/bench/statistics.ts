// Owns the sums over samples.

/** The value below which `share` of the sorted values lie, to hundredths. */
export function percentile(sorted: readonly number[], share: number): number {
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN) * 100) / 100;
}

export interface Summary {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** Of an even number of values the lower middle one is the median. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return { min: at(0), median: at(Math.floor((sorted.length - 1) / 2)), max: at(sorted.length - 1) };
}

// Owns the check of a rate limit: the fullest window that a history of starts has. Pure.

export interface Window {
  readonly from: number;
  readonly starts: number;
}

/**
 * The window of length `perMs`, both ends included, with the most starts: any other has no more. Instants in ms. A fullest window can be
 * moved on until a start stands at its beginning, so only those are looked at.
 */
export function fullestWindow(startedAt: readonly number[], perMs: number): Window {
  const starts = startedAt.toSorted((one, other) => one - other);
  let fullest: Window = { from: 0, starts: 0 };
  let end = 0;
  for (const [i, from] of starts.entries()) {
    while ((starts[end] ?? Number.POSITIVE_INFINITY) <= from + perMs) end += 1;
    if (end - i > fullest.starts) fullest = { from, starts: end - i };
  }
  return fullest;
}

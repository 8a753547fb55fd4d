// Owns keeping what was read of texts that come again and again.

/** A reader that keeps what `read` made of the last `textsMax` different texts. For readings that depend on nothing but the text. */
export function keeping<Reading extends object>(
  textsMax: number,
  read: (text: string) => Reading,
): (text: string) => Reading {
  const kept = new Map<string, Reading>();
  return (text) => {
    const known = kept.get(text);
    if (known !== undefined) return known;
    const reading = read(text);
    kept.set(text, reading);
    const [oldest] = kept.size > textsMax ? kept.keys() : [];
    if (oldest !== undefined) kept.delete(oldest);
    return reading;
  };
}

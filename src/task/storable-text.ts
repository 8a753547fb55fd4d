// Owns what text from the world may be stored: Postgres refuses NUL, and one NUL would wedge a whole flush of outcomes.

/** The text cut to `lengthMax` UTF-16 units at a character's edge, with NUL and lone surrogates replaced by U+FFFD. */
export function storableText(text: string, lengthMax: number): string {
  const splitsPair = isHighSurrogate(text.charCodeAt(lengthMax - 1)) && isLowSurrogate(text.charCodeAt(lengthMax));
  const cut = text.slice(0, splitsPair ? lengthMax - 1 : lengthMax);
  return cut.replaceAll("\0", "\uFFFD").toWellFormed();
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

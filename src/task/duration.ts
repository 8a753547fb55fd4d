// Owns how durations are written: ISO 8601 (`PT30M`) or short (`1h30m`) on the way in, ISO 8601 on the way out.
// The grammar is our own, since luxon's Duration.fromISO takes `P`, `PT` and negatives, and cuts what is finer than a millisecond.

/** The longest text that is looked at: no duration within any limit needs more. */
const textLengthMax = 64;

const unitMs = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const;
type Unit = keyof typeof unitMs;
const units = Object.keys(unitMs) as Unit[];

/** Groups named by their unit. The lookahead refuses `P` and `PT`; years and months never get here. */
const isoForm =
  /^P(?=[\dT])(?:(?<w>[\d.,]+)W)?(?:(?<d>[\d.,]+)D)?(?:T(?=\d)(?:(?<h>[\d.,]+)H)?(?:(?<m>[\d.,]+)M)?(?:(?<s>[\d.,]+)S)?)?$/;
const isoNumber = /^\d+(?:[.,]\d+)?$/;
/** Each unit at most once, the larger first. */
const shortForm =
  /^(?=\d)(?:(?<w>\d+)w)?(?:(?<d>\d+)d)?(?:(?<h>\d+)h)?(?:(?<m>\d+)m(?!s))?(?:(?<s>\d+)s)?(?:(?<ms>\d+)ms)?$/;
const isoWithYearsOrMonths = /^P(?:[\d.,]+Y|(?:[\d.,]+W)?[\d.,]+M)/;

const formsHint = "use ISO 8601 (PT30M) or the short form (250ms, 45s, 30m, 1h30m, 2d)";

/** What the caller's field allows, both ends included. Without them any duration from zero up is taken. */
export interface DurationLimits {
  readonly minMs?: number;
  readonly maxMs?: number;
}

/**
 * Reads a duration; what is finer than a millisecond is rounded up. The error is a sentence's end, to follow the field's name
 * ("must be …"). Years and months are refused: without a date they have no length.
 */
export function parseDuration(text: string, limits: DurationLimits = {}): { ms: number } | { error: string } {
  const { minMs = 0, maxMs = Number.MAX_SAFE_INTEGER } = limits;
  const exactMs = readDuration(text);
  if (typeof exactMs === "string") return { error: exactMs };
  if (exactMs > BigInt(maxMs)) return { error: `must be at most ${formatDuration(maxMs)}` };
  if (exactMs < BigInt(minMs)) return { error: `must be at least ${formatDuration(minMs)}` };
  return { ms: Number(exactMs) };
}

/** Writes whole milliseconds as ISO 8601 in the largest whole units up to days: `PT1H30M`, `PT0.25S`, `P2D`, zero as `PT0S`. */
export function formatDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new RangeError(`A duration is a whole number of ms from 0, not ${ms}`);
  const days = Math.floor(ms / unitMs.d);
  const hours = Math.floor((ms % unitMs.d) / unitMs.h);
  const minutes = Math.floor((ms % unitMs.h) / unitMs.m);
  const seconds = (ms % unitMs.m) / unitMs.s;
  const date = days > 0 ? `${days}D` : "";
  const time = [hours > 0 ? `${hours}H` : "", minutes > 0 ? `${minutes}M` : "", seconds > 0 ? `${seconds}S` : ""].join(
    "",
  );
  if (date === "" && time === "") return "PT0S";
  return time === "" ? `P${date}` : `P${date}T${time}`;
}

/** The duration in milliseconds, rounded up, or what is wrong with it. */
function readDuration(text: string): bigint | string {
  if (text.length > textLengthMax) return `must be at most ${textLengthMax} characters long; ${formsHint}`;
  const parts = (shortForm.exec(text) ?? isoForm.exec(text))?.groups;
  return (parts === undefined ? undefined : sumUp(parts)) ?? faultOf(text);
}

/** What keeps a text from being a duration. */
function faultOf(text: string): string {
  if (text.trim() === "") return `must not be empty; ${formsHint}`;
  if (/^[+-]?[\d.,]+$/.test(text)) {
    const example = /^\d+$/.test(text) ? text : "30";
    return `needs a unit: a bare number could mean seconds or milliseconds (write ${example}s or ${example}ms)`;
  }
  if (/^[+-]/.test(text) || /^P.*-\d/.test(text))
    return `must not be signed: a duration is never negative; ${formsHint}`;
  if (isoWithYearsOrMonths.test(text)) return "must not hold years or months, whose length varies; use days";
  return `must be a duration; ${formsHint}`;
}

/** A fraction has fewer digits than the text has characters, so this denominator holds every part without a remainder. */
const denominator = 10n ** BigInt(textLengthMax);

/** Adds the parts exactly, whole units and fractions of one apart, and rounds the sum up once. */
function sumUp(parts: Record<string, string | undefined>): bigint | undefined {
  let sum = 0n;
  let rest = 0n;
  for (const unit of units) {
    const number = parts[unit];
    if (number === undefined) continue;
    if (!isoNumber.test(number)) return undefined;
    const [whole = "", fraction = ""] = number.split(/[.,]/);
    sum += BigInt(whole) * BigInt(unitMs[unit]);
    if (fraction !== "")
      rest += (BigInt(fraction) * BigInt(unitMs[unit]) * denominator) / 10n ** BigInt(fraction.length);
  }
  return sum + (rest + denominator - 1n) / denominator;
}

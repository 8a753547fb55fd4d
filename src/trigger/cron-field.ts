// Owns how one field of a cron pattern is read, in both dialects: lists of `*`, `*/n`, `a`, `a-b`, `a-b/n` and `a/n`, with names for numbers.

export interface FieldRule {
  readonly min: number;
  readonly max: number;
  /** For the numbers from `min` on. */
  readonly names?: readonly string[];
  /** What `*` and `a/n` reach to, where it is not `max`: crontab's 7 is its 0 once more. */
  readonly openMax?: number;
  /** The number that a name means as the end of a range: crontab's `fri-sun` ends on 7. */
  readonly rangeEnds?: Readonly<Record<string, number>>;
}

export const monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] as const;
/** From Monday = 0, as patterns and APScheduler count. */
export const weekdayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

export interface FieldRead {
  /** Ascending, each once. */
  readonly values: readonly number[];
  /** Sentences' ends; where there are any, `values` is of no use. */
  readonly faults: readonly string[];
}

const partForm = /^(?:(\*)|(\d+|[a-z]+)(?:-(\d+|[a-z]+))?)(?:\/(\d+))?$/i;

/** Reads a whole field. All its faults are found. */
export function readField(text: string, rule: FieldRule): FieldRead {
  const reads = text.split(",").map((part) => readPart(part.trim(), rule));
  const values = new Set(reads.flatMap((read) => (typeof read === "string" ? [] : read)));
  return {
    values: [...values].toSorted((one, other) => one - other),
    faults: reads.filter((read) => typeof read === "string"),
  };
}

/** The numbers of one item of the list, or what is wrong with it. */
function readPart(part: string, rule: FieldRule): number[] | string {
  const match = partForm.exec(part);
  if (match === null) return `${quoted(part)} is not *, */n, a, a-b, a-b/n or a/n`;
  const [, star, firstText = "", lastText, stepText] = match;
  const open = rule.openMax ?? rule.max;
  const first = star === undefined ? readNumber(firstText, rule) : rule.min;
  if (typeof first === "string") return first;
  const last = lastText === undefined ? null : readNumber(lastText, rule, rule.rangeEnds);
  if (typeof last === "string") return last;
  if (last !== null && last < first) return `${quoted(part)} runs backwards`;
  const step = stepText === undefined ? 1 : Number(stepText);
  if (step < 1 || step > rule.max) return `${quoted(part)} has a step that is not from 1 to ${rule.max}`;
  const end = last ?? (star !== undefined || stepText !== undefined ? Math.max(open, first) : first);
  return Array.from({ length: Math.floor((end - first) / step) + 1 }, (_, index) => first + index * step);
}

function readNumber(text: string, rule: FieldRule, ends: FieldRule["rangeEnds"] = {}): number | string {
  if (/^\d/.test(text)) {
    const number = Number(text);
    return number >= rule.min && number <= rule.max ? number : `${quoted(text)} is not from ${rule.min} to ${rule.max}`;
  }
  const name = text.toLowerCase();
  const index = rule.names?.indexOf(name) ?? -1;
  if (index >= 0) return ends[name] ?? rule.min + index;
  return rule.names === undefined
    ? `${quoted(text)} is no number`
    : `${quoted(text)} is none of ${rule.names.join(", ")}`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

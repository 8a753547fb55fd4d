// Owns finding places in JSON text that JSON.parse has already accepted: a value's own source text, and strings that cannot be stored.
// JSON.parse loses digits (12345678901234567890), spelling (1.10) and the order of integer-like names; the text loses nothing.
// Nothing here recurses: a payload of 200,000 open brackets is valid JSON.

const quote = 0x22;
const comma = 0x2c;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** The text of an object's member, the last one of that name as in JSON.parse; null where there is none, or `json` is no object. */
export function memberText(json: string, name: string): string | null {
  return textOf(json, lastMember(json, skipSpace(json, 0), name).found);
}

/** For each item of the array in member `list`: the text of the item's member `name`, or null. */
export function itemMemberTexts(json: string, list: string, name: string): (string | null)[] {
  const { found: span } = lastMember(json, skipSpace(json, 0), list);
  const texts: (string | null)[] = [];
  if (span === null || json.charCodeAt(span.start) !== openBracket) return texts;
  let at = skipSpace(json, span.start + 1);
  while (json.charCodeAt(at) !== closeBracket) {
    const { found, end } = lastMember(json, at, name);
    texts.push(textOf(json, found));
    at = skipSpace(json, end);
    if (json.charCodeAt(at) === comma) at = skipSpace(json, at + 1);
  }
  return texts;
}

/** NUL and lone surrogates can only be written as escapes: text without these has none, and is not walked. */
const suspicious = /\\u(?:0000|[dD][89a-fA-F])/;

/**
 * JSON pointers (RFC 6901) to strings and member names that hold NUL, which Postgres refuses, or a lone surrogate, which UTF-8 cannot
 * hold. At most `countMax`. Members that a later one of the same name hides are looked at too: the text is stored whole.
 */
export function unstorableStrings(json: string, countMax: number): string[] {
  if (!suspicious.test(json)) return [];
  const pointers: string[] = [];
  const path: (string | number)[] = [];
  let nameNext = false;
  for (let at = 0; at < json.length && pointers.length < countMax; at++) {
    const code = json.charCodeAt(at);
    if (code === openBrace || code === openBracket) {
      path.push(code === openBrace ? "" : 0);
      nameNext = code === openBrace;
    } else if (code === closeBrace || code === closeBracket) {
      path.pop();
      nameNext = false;
    } else if (code === comma) {
      const step = path.at(-1);
      nameNext = typeof step === "string";
      if (typeof step === "number") path[path.length - 1] = step + 1;
    } else if (code === quote) {
      const end = skipString(json, at);
      const text = stringAt(json, at, end);
      if (nameNext) path[path.length - 1] = text;
      nameNext = false;
      if (text.includes("\0") || !text.isWellFormed()) pointers.push(pointer(path));
      at = end - 1;
    }
  }
  return pointers;
}

/** A JSON pointer (RFC 6901); lone surrogates in it become U+FFFD, since it is sent as UTF-8. */
export function pointer(path: readonly PropertyKey[]): string {
  return path.map((step) => `/${String(step).toWellFormed().replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The last member of that name of the value at `valueAt`, null where that is no object or has none; and where the value ends. */
function lastMember(
  json: string,
  valueAt: number,
  name: string,
): { readonly found: Span | null; readonly end: number } {
  if (json.charCodeAt(valueAt) !== openBrace) return { found: null, end: skipValue(json, valueAt) };
  let found: Span | null = null;
  let at = skipSpace(json, valueAt + 1);
  while (json.charCodeAt(at) !== closeBrace) {
    const nameEnd = skipString(json, at);
    const start = skipSpace(json, skipSpace(json, nameEnd) + 1);
    const end = skipValue(json, start);
    if (stringAt(json, at, nameEnd) === name) found = { start, end };
    at = skipSpace(json, end);
    if (json.charCodeAt(at) === comma) at = skipSpace(json, at + 1);
  }
  return { found, end: at + 1 };
}

function textOf(json: string, span: Span | null): string | null {
  return span === null ? null : json.slice(span.start, span.end);
}

/** The string whose opening quote is at `start` and whose closing one is before `end`. */
function stringAt(json: string, start: number, end: number): string {
  const raw = json.slice(start + 1, end - 1);
  return raw.includes("\\") ? (JSON.parse(json.slice(start, end)) as string) : raw;
}

function skipSpace(json: string, from: number): number {
  let at = from;
  for (
    let code = json.charCodeAt(at);
    code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
    code = json.charCodeAt(at)
  )
    at++;
  return at;
}

/** `from` is at the opening quote; answers the place after the closing one. */
function skipString(json: string, from: number): number {
  for (let at = from + 1; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === backslash) at++;
    else if (code === quote) return at + 1;
  }
  throw notJson(from);
}

function skipValue(json: string, from: number): number {
  const first = json.charCodeAt(from);
  if (first === quote) return skipString(json, from);
  if (first !== openBrace && first !== openBracket) return skipScalar(json, from);
  let depth = 0;
  for (let at = from; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === quote) at = skipString(json, at) - 1;
    else if (code === openBrace || code === openBracket) depth++;
    else if ((code === closeBrace || code === closeBracket) && --depth === 0) return at + 1;
  }
  throw notJson(from);
}

/** A number, true, false or null: every character of one is above the space and none is a comma or a closing bracket. */
function skipScalar(json: string, from: number): number {
  let at = from;
  for (; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === comma || code === closeBrace || code === closeBracket || code <= 0x20) break;
  }
  if (at === from) throw notJson(from);
  return at;
}

/** A bug of the caller's: only text that JSON.parse accepted comes here. Without it the loops above would not end. */
function notJson(at: number): Error {
  return new Error(`not JSON at character ${at}`);
}

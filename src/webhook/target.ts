// Owns what a webhook's URL says of where to call, and what is wrong with the text itself, wherever it points.

import { keeping } from "../runtime/keeping.ts";

export const urlLengthMax = 2_048;
/** Many tasks have the same few URLs: to read one took 2 µs of CPU a call, at both places that need it. */
const urlsKeptMax = 1_000;

/** As the URL parser has it: every spelling of an address (hex, octal, short, mapped) in one form, names in punycode. */
export interface Target {
  readonly origin: string;
  /** `https:` or `http:`. */
  readonly protocol: string;
  /** A name, or an address, with brackets where it is of version 6. */
  readonly hostname: string;
  /** Empty where it is the scheme's own. */
  readonly port: string;
  /** With the query. */
  readonly path: string;
}

type Form = { readonly target: Target } | { readonly fault: string };

/** The target, or what is wrong with the text, to follow the field's name. */
export function readTarget(text: string): Form {
  // Not kept: SQL may make texts of any length.
  return text.length > urlLengthMax ? { fault: `must be at most ${urlLengthMax} characters long` } : readUrl(text);
}

const readUrl = keeping(urlsKeptMax, (text): Form => {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
    return { fault: "must be an absolute http or https URL" };
  if (url.username !== "" || url.password !== "")
    return { fault: "must not hold a user name or password; use a header" };
  const { origin, protocol, hostname, port, pathname, search } = url;
  return { target: { origin, protocol, hostname, port, path: pathname + search } };
});

// Owns how zod's issues become the faults that a caller reads: a path, and one sentence's end in plain words.

import type { z } from "zod";
import { pointer } from "./json-spans.ts";
import { faultsMax } from "./limits.ts";
import type { Fault } from "./problem.ts";

/** Every fault of a value; an unknown member is a fault of its own. `prefix` is put before each path. */
export function faultsOf(error: z.core.$ZodError, prefix = ""): Fault[] {
  return error.issues.flatMap((issue) => issueFaults(issue, prefix)).slice(0, faultsMax);
}

function issueFaults(issue: z.core.$ZodIssue, prefix: string): Fault[] {
  const path = prefix + pointer(issue.path);
  if (issue.code !== "unrecognized_keys") return [{ path, message: message(issue) }];
  return issue.keys.map((name) => ({ path: path + pointer([name]), message: "is not a field here" }));
}

function message(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      if (!issue.message.startsWith(zodsOwnWords)) return issue.message;
      // Issues carry no input unless they are asked to; zod's own text says "received undefined" for a missing member.
      return issue.message.endsWith("received undefined") ? "is required" : `must be ${article(issue.expected)}`;
    case "too_small":
      return `must ${sizeWords(issue.origin, "at least", issue.minimum)}`;
    case "too_big":
      return `must ${sizeWords(issue.origin, "at most", issue.maximum)}`;
    case "invalid_value":
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    default:
      return issue.message;
  }
}

/** How zod begins where a schema has no words of its own. */
const zodsOwnWords = "Invalid input";

const nouns: Readonly<Record<string, string>> = {
  object: "an object",
  record: "an object",
  array: "an array",
  int: "a whole number",
};

function article(expected: string): string {
  return nouns[expected] ?? `a ${expected}`;
}

function sizeWords(origin: string, bound: string, size: number | bigint): string {
  if (origin === "string") return `have ${bound} ${size} ${size === 1 ? "character" : "characters"}`;
  if (origin === "array") return `have ${bound} ${size} ${size === 1 ? "item" : "items"}`;
  return `be ${bound} ${size}`;
}

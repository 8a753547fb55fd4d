// Owns reading queries, and cursors: where the next page of a listing begins.

import { z } from "zod";
import type { TaskCursor, TaskOrder } from "../store/task-filter.ts";
import { faultsOf } from "./faults.ts";
import { type Fault, validationFailed } from "./problem.ts";
import { scheduleNameCharsMax as nameCharsMax } from "./limits.ts";
import { nameFault, readId } from "./schemas/fields.ts";

/** Give several values in one: the others may stand once. */
const repeatable: ReadonlySet<string> = new Set(["state", "type"]);
const labelPrefix = "label.";

/** Reads a request's query by a schema; every fault is listed, also a parameter that is unknown or given twice. */
export function readQuery<S extends z.ZodType>(url: string, schema: S): z.output<S> {
  const mark = url.indexOf("?");
  const { values, faults } = gather(mark === -1 ? "" : url.slice(mark + 1));
  const read = schema.safeParse(values);
  if (read.success && faults.length === 0) return read.data;
  throw validationFailed([...faults, ...(read.success ? [] : faultsOf(read.error))]);
}

interface GatheredQuery {
  /** `label.NAME` parameters are gathered in `labels`. */
  readonly values: Record<string, unknown>;
  readonly faults: Fault[];
}

function gather(query: string): GatheredQuery {
  const values = new Map<string, string>();
  const labels = new Map<string, string>();
  const faults: Fault[] = [];
  for (const [name, value] of new URLSearchParams(query)) {
    const [into, member] = name.startsWith(labelPrefix) ? [labels, name.slice(labelPrefix.length)] : [values, name];
    if (!into.has(member)) into.set(member, value);
    else if (repeatable.has(name)) into.set(member, `${into.get(member)},${value}`);
    else faults.push({ path: `/${name}`, message: "must be given once only" });
    // In a body these are found in its text; the other parameters have forms of their own.
    if (into === labels && value.includes("\0")) faults.push({ path: `/${name}`, message: "must not hold NUL" });
  }
  if (values.has("labels")) faults.push({ path: "/labels", message: "is not a field here" });
  return {
    values: { ...Object.fromEntries(values), ...(labels.size > 0 ? { labels: Object.fromEntries(labels) } : {}) },
    faults,
  };
}

/** The first member says how the rest is to be read. */
const cursorVersion = 1;
/** Years 1 to 9999, as times.ts reads them: a forged cursor must not reach what Postgres cannot hold. */
const cursorTime = z.number().min(-62_135_596_800_000).max(253_402_300_799_999);
const cursorForm = z.tuple([
  z.literal(cursorVersion),
  z.enum(["dueAt", "-createdAt"]),
  cursorTime,
  z.string().transform(readId),
]);

/** Opaque to callers: base64url of `[version, order, dueAt, id]`. */
export function encodeCursor(order: TaskOrder, cursor: TaskCursor): string {
  return Buffer.from(JSON.stringify([cursorVersion, order, cursor.dueAt, cursor.id])).toString("base64url");
}

/** Throws a 422 problem where it is none of ours, or of a listing in another order. */
export function decodeCursor(text: string, order: TaskOrder): TaskCursor {
  const read = cursorForm.safeParse(cursorJson(text));
  const [, cursorOrder, dueAt, id] = read.success ? read.data : [];
  if (dueAt === undefined || id === undefined || id === null) {
    throw validationFailed([{ path: "/cursor", message: "must be a nextCursor of this listing" }]);
  }
  if (cursorOrder === order) return { dueAt, id };
  throw validationFailed([{ path: "/cursor", message: `belongs to a listing with order=${cursorOrder}` }]);
}

const nameCursorForm = z.tuple([z.literal(cursorVersion), z.literal("name"), z.string().max(nameCharsMax)]);

/** Of a listing by name: where the next page begins after. */
export function encodeNameCursor(name: string): string {
  return Buffer.from(JSON.stringify([cursorVersion, "name", name])).toString("base64url");
}

/** Throws a 422 problem where it is none of ours. */
export function decodeNameCursor(text: string): string {
  const read = nameCursorForm.safeParse(cursorJson(text));
  const name = read.success ? read.data[2] : null;
  if (name !== null && nameFault(name, nameCharsMax) === null) return name;
  throw validationFailed([{ path: "/cursor", message: "must be a nextCursor of this listing" }]);
}

function cursorJson(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    return null;
  }
}

/** The query of the next page: the same one with another cursor. Relative, since only the caller knows the host it used. */
export function nextLink(url: string, cursor: string): string {
  const mark = url.indexOf("?");
  const query = new URLSearchParams(mark === -1 ? "" : url.slice(mark + 1));
  query.set("cursor", cursor);
  return `<${mark === -1 ? url : url.slice(0, mark)}?${query.toString()}>; rel="next"`;
}

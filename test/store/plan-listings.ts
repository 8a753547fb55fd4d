// Owns the listings whose plans are read, and what any statement may look at.

import { listTasks } from "../../src/store/listing.ts";
import type { Database } from "../../src/store/database.ts";
import { taskStates } from "../../src/task/task.ts";
import { sized } from "../support/size.ts";
import { quietQueue } from "./backlog.ts";
import type { Reading } from "./plans.ts";

export const batch = 100;
export const size = sized({
  usual: { due: 10_000, waiting: 100_000, ended: 100_000 },
  long: { due: 100_000, waiting: 1_000_000, ended: 1_000_000 },
});
/** A write of a row touches each of its indexes and what is above it. */
const pagesPerRowMax = 60;
const pagesMin = 100;
export const queueCount = 6;
const pageRows = batch + 1;
/** As in src/store/listing.ts: what is looked at before anything else, the most that are sorted, and a page of each queue and state. */
const nearRows = 2_000;
const fewRows = 10_001;
const sampleRows = 10_000;
const walkRows = nearRows + pageRows * queueCount * taskStates.length;
export const fewLabelled = (2 * (size.due + size.waiting + size.ended)) / 500;

export interface Expected {
  /** Rows of the tasks table that each statement may look at; twice the batch where nothing is said. */
  readonly rowsMax?: number;
  /** Whether rows may be sorted, no more of them than may be read; where they are selected by order they may not. */
  readonly mayOrder?: boolean;
}

export interface Case extends Expected {
  readonly name: string;
  readonly send: (database: Database) => Promise<unknown>;
}

/** `ended`: ids of tasks that ended, filled in before the first is sent. */
export function listingCases({ ended }: { readonly ended: readonly string[] }): readonly Case[] {
  const page = (order: "dueAt" | "-createdAt"): Parameters<typeof listTasks>[2] => ({
    order,
    limit: batch,
    after: { dueAt: Date.now() - 300_000, id: ended[0] ?? "00000000-0000-0000-0000-000000000000" },
  });
  return [
    {
      name: "a page of all tasks by due time",
      send: (database) => listTasks(database, {}, page("dueAt")),
      // One page of each queue and state, merged.
      rowsMax: pageRows * queueCount * taskStates.length,
      mayOrder: true,
    },
    {
      name: "a page of one queue and state by due time",
      send: (database) => listTasks(database, { queue: "default", states: ["succeeded"] }, page("dueAt")),
      mayOrder: true,
    },
    {
      name: "a page of the tasks with a key",
      send: (database) => listTasks(database, { key: "order-77:ended" }, page("dueAt")),
      mayOrder: true,
    },
    {
      name: "a page of a caller's own queues by due time",
      send: (database) => listTasks(database, { reach: ["default", "lane-0"] }, page("dueAt")),
      rowsMax: pageRows * 2 * taskStates.length,
      mayOrder: true,
    },
    {
      name: "a page of a caller's own queue by age, among the many tasks of others",
      send: (database) => listTasks(database, { reach: [quietQueue] }, firstPage("-createdAt")),
      rowsMax: fewRows + sampleRows + 2 * pageRows,
      mayOrder: true,
    },
    {
      name: "a page of one queue by age",
      send: (database) => listTasks(database, { queue: quietQueue }, firstPage("-createdAt")),
      rowsMax: nearRows + fewRows + pageRows,
      mayOrder: true,
    },
    {
      name: "a page of a queue with few tasks by age",
      send: (database) => listTasks(database, { queue: "none" }, firstPage("-createdAt")),
      rowsMax: nearRows,
      mayOrder: true,
    },
    ...(["dueAt", "-createdAt"] as const).flatMap((order): Case[] => [
      {
        name: `a page by ${order} of the few tasks with a label`,
        send: (database) => listTasks(database, { labels: { customer: "c20" } }, firstPage(order)),
        rowsMax: fewLabelled + walkRows,
        mayOrder: true,
      },
      {
        name: `a page by ${order} of a label that no task has`,
        send: (database) => listTasks(database, { labels: { customer: "nobody" } }, firstPage(order)),
        rowsMax: walkRows,
        mayOrder: true,
      },
      {
        name: `a page by ${order} of the few tasks whose keys begin alike`,
        send: (database) => listTasks(database, { keyPrefix: "order-77:" }, firstPage(order)),
        rowsMax: walkRows,
        mayOrder: true,
      },
      {
        name: `a page by ${order} of keys that no task has`,
        send: (database) => listTasks(database, { keyPrefix: "basket-" }, firstPage(order)),
        rowsMax: walkRows,
        mayOrder: true,
      },
      {
        name: `a page by ${order} of the many tasks whose keys begin alike`,
        send: (database) => listTasks(database, { keyPrefix: "order-" }, firstPage(order)),
        rowsMax: fewRows + walkRows,
        mayOrder: true,
      },
    ]),
    {
      name: "a page of a state that few tasks have by age",
      send: (database) => listTasks(database, { states: ["missed"] }, firstPage("-createdAt")),
      rowsMax: nearRows,
      mayOrder: true,
    },
    { name: "a page of all tasks by age", send: (database) => listTasks(database, {}, page("-createdAt")) },
  ];
}

function firstPage(order: "dueAt" | "-createdAt"): Parameters<typeof listTasks>[2] {
  return { order, limit: batch, after: null };
}

/** What a statement did that it may not. */
export function faultsOf(reading: Reading, { rowsMax = 2 * batch, mayOrder = false }: Expected): string[] {
  const { taskRows, attemptRows, sorted, scanned, pages, text } = reading;
  const pagesMax = pagesMin + pagesPerRowMax * Math.max(batch, rowsMax / 2);
  const sortedMax = Math.max(0, ...sorted);
  const faults = [
    ...scanned.filter((table) => table === "tasks" || table === "attempts").map((table) => `${table} is scanned`),
    ...(taskRows > rowsMax ? [`${taskRows} tasks are read, not ${rowsMax}`] : []),
    ...(attemptRows > 2 * batch ? [`${attemptRows} attempts are read`] : []),
    ...(pages > pagesMax ? [`${pages} pages are touched, not ${pagesMax}`] : []),
    ...(sortedMax > (mayOrder ? rowsMax : 0) ? [`${sortedMax} rows are sorted`] : []),
  ];
  return faults.map((fault) => `${fault} by\n${text}`);
}

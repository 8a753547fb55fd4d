// Owns the comparison of lapse.schedule_task with POST /v1/tasks: the same inputs go both ways, are taken or refused by both, and leave the
// same row, down to the hash by which the very same request is known again.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseDuration } from "../../src/task/duration.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { type Fields, refused, span, taken, url } from "./inputs.ts";
import { createRole, openSql, type Parameters, type SqlClient } from "./sql.ts";

let flow: Flow;
let shop: SqlClient;
let owner: SqlClient;

beforeAll(async () => {
  flow = await startFlow({ redis: "away", config: { role: "api" } });
  owner = await openSql(flow.service.databaseUrl);
  shop = await openSql(await createRole(flow.service.databaseUrl, ["lapse_client"]));
});
afterAll(async () => {
  await Promise.all([shop.end(), owner.end()]);
  await flow.stop();
});

/** What the store compares: all but ids, times of making and what counts writes. */
const compared = `queue, key, state, url, method, headers, payload, body, content_type, timeout_ms, retry, misfire_grace_ms, delivery,
  max_reschedules, labels, schedule_id, request_hash, attempts, version`;

/** Takes a row away again, so that the next may have its key. Of a delay whole seconds are compared: the two calls are no single moment. */
async function takeRow(id: string, isDelayed: boolean): Promise<unknown> {
  const due = isDelayed
    ? "round(extract(epoch from due_at - created_at))"
    : "case when due_at > created_at + interval '1 second' then due_at end";
  const rows = await owner.query(`delete from lapse.tasks where id = $1 returning ${compared}, (${due})::text as due`, [
    id,
  ]);
  return rows[0];
}

function toParameters(fields: Fields): Parameters {
  const { payload, dueAt, delay, timeout, misfireGrace, contentType, onConflict, maxReschedules, ...rest } = fields;
  const json = (value: unknown): Parameters[string] =>
    value === undefined ? undefined : [JSON.stringify(value), "jsonb"];
  const plain = (value: unknown, type = "text"): Parameters[string] =>
    value === undefined ? undefined : [value, type];
  return {
    url: plain(rest["url"]),
    due_at: plain(dueAt, "timestamptz"),
    delay: duration(delay),
    queue: plain(rest["queue"]),
    key: plain(rest["key"]),
    on_conflict: plain(onConflict),
    method: plain(rest["method"]),
    headers: json(rest["headers"]),
    payload_text: plain(payload === undefined ? undefined : JSON.stringify(payload)),
    body: plain(rest["body"]),
    content_type: plain(contentType),
    timeout: duration(timeout),
    retry: json(rest["retry"]),
    misfire_grace: duration(misfireGrace),
    delivery: plain(rest["delivery"]),
    max_reschedules: plain(maxReschedules, "integer"),
    labels: json(rest["labels"]),
  };
}

function duration(value: unknown): Parameters[string] {
  const read = typeof value === "string" ? parseDuration(value) : { error: "" };
  return "ms" in read ? span(read.ms) : undefined;
}

describe("is taken by the API and by SQL alike", () => {
  test.each(taken)("$what", async ({ fields, sql }) => {
    const given: Fields = { url, delay: "dueAt" in fields ? undefined : "1h", ...fields };
    const answer = await flow.api.post("/v1/tasks", given);
    expect(answer).toMatchObject({ status: 201 });
    const isDelayed = given["dueAt"] === undefined;
    const byApi = await takeRow(answer.task.id, isDelayed);
    const bySql = await takeRow(await shop.schedule({ ...toParameters(given), ...sql }), isDelayed);
    expect(bySql).toEqual(byApi);
  });

  test("a request that was made the other way is known as the very same", async () => {
    const fields = {
      url,
      key: unique("key"),
      delay: "90m",
      payload: { b: 1, a: [2] },
      labels: { a: "b" },
      retry: { maxAttempts: 3 },
    };
    const { task } = await flow.api.post("/v1/tasks", fields);
    expect(await shop.schedule(toParameters(fields))).toBe(task.id);
    const other = { ...fields, key: unique("key") };
    const id = await shop.schedule(toParameters(other));
    const again = await flow.api.post("/v1/tasks", other);
    expect([again.status, again.task.id]).toEqual([200, id]);
  });
});

describe("is refused by the API and by SQL alike", () => {
  test.each(refused)("$what", async ({ fields, sql }) => {
    const given: Fields = { url, ...fields };
    const answer = await flow.api.post("/v1/tasks", given);
    expect([413, 422]).toContain(answer.status);
    const parameters = { ...toParameters(given), ...sql };
    const fault: unknown = await shop.schedule(parameters).catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: "22023", message: expect.stringMatching(/^lapse\.schedule_task: /) });
    const [, field = ""] = answer.problem.errors?.[0]?.path.split("/") ?? [];
    expect((fault as Error).message).toContain(toSnake(field));
  });

  test("with all its faults at once, each by its field", async () => {
    const refusal = shop.schedule({
      key: ["", "text"],
      queue: ["a b", "text"],
      retry: ['{"maxAttempts": 0, "x": 1}', "jsonb"],
    });
    await expect(refusal).rejects.toMatchObject({
      code: "22023",
      message:
        'lapse.schedule_task: url is required; queue may have only letters, digits and . _ : -; key must have at least 1 character; retry "x" is no member of it; retry maxAttempts must be a whole number from 1 to 100',
      hint: expect.stringContaining("POST /v1/tasks"),
    });
  });
});

function toSnake(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

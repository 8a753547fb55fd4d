// Owns the checks of a key that is taken, between SQL and SQL and between SQL and the API, at each isolation level; and that an open
// transaction of a user holds up nobody who does not want its key.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import { createRole, openSql, type Parameters, type SqlClient } from "./sql.ts";

let flow: Flow;
let one: SqlClient;
let other: SqlClient;
let owner: SqlClient;

beforeAll(async () => {
  // Nothing is fired here.
  flow = await startFlow({ redis: "away", config: { role: "api" } });
  const url = await createRole(flow.service.databaseUrl, ["lapse_client"]);
  [one, other, owner] = await Promise.all([openSql(url), openSql(url), openSql(flow.service.databaseUrl)]);
});
afterEach(async () => {
  await Promise.all([one.query("rollback"), other.query("rollback")]);
});
afterAll(async () => {
  await Promise.all([one.end(), other.end(), owner.end()]);
  await flow.stop();
});

const url = "http://127.0.0.1:9/hook";
/** Beyond its own 2 s, what a loaded machine takes. */
const refusedMsMax = 3_000;

const named = (key: string, more: Parameters = {}): Parameters => ({
  url: [url, "text"],
  delay: ["1 hour", "interval"],
  key: [key, "text"],
  ...more,
});
const text = (value: string): Parameters[string] => [value, "text"];
const taken = (key: string) => ({ code: "23505", message: expect.stringContaining(`key "${key}" of queue "default"`) });

/** Resolves once the session waits for a lock. */
async function waits(session: SqlClient): Promise<void> {
  const pid = (session.client as unknown as { processID: number }).processID;
  await until(
    () =>
      owner.query<{ event: string | null }>("select wait_event_type as event from pg_stat_activity where pid = $1", [
        pid,
      ]),
    ([row]) => row?.event === "Lock",
  );
}

async function rowsOf(key: string): Promise<{ id: string; state: string; version: number; due_at: Date }[]> {
  return owner.query("select id, state, version, due_at from lapse.tasks where key = $1 order by id", [key]);
}

describe("a key that a live task has", () => {
  test("is refused, naming key, queue and the task that stands", async () => {
    const key = unique('it\'s "my" %s key');
    const id = await one.schedule(named(key));
    const refusal = other.schedule(named(key, { delay: ["2 hours", "interval"] }));
    await expect(refusal).rejects.toMatchObject({ ...taken(key), detail: expect.stringContaining(id) });
    expect(await rowsOf(key)).toHaveLength(1);
  });

  test("gives its task's id to the very same call", async () => {
    const key = unique("key");
    const more: Parameters = { headers: ['{"b": "1", "a": "2"}', "jsonb"], payload_text: text('{"b": 1.0, "a": 2}') };
    const id = await one.schedule(named(key, more));
    expect(await other.schedule(named(key, { ...more, headers: ['{"a": "2", "b": "1"}', "jsonb"] }))).toBe(id);
    await expect(
      other.schedule(named(key, { ...more, payload_text: text('{"a": 2, "b": 1.0}') })),
    ).rejects.toMatchObject(taken(key));
  });

  test("is kept where that is wanted", async () => {
    const { id, key } = await flow.create({ key: unique("key") });
    expect(await one.schedule(named(key ?? "", { on_conflict: text("keep"), method: text("GET") }))).toBe(id);
    expect(await flow.read(id)).toMatchObject({ method: "POST", version: 1 });
  });

  test("takes a new definition and due time where that is wanted, its id and pause kept", async () => {
    const { id, key, dueAt } = await flow.create({ key: unique("key"), payload: 1, labels: { a: "b" } });
    await flow.api.post(`/v1/tasks/${id}/pause`);
    const replacing = named(key ?? "", {
      on_conflict: text("replace"),
      method: text("PUT"),
      delay: ["2 hours", "interval"],
    });
    expect(await one.schedule(replacing)).toBe(id);
    const task = await flow.read(id);
    expect(task).toMatchObject({ state: "paused", method: "PUT", payload: null, labels: {}, version: 3 });
    expect(Date.parse(task.dueAt) - Date.parse(dueAt)).toBeGreaterThan(3_500_000);
    expect(task.nextAttemptAt).toBe(task.dueAt);
  });

  test("is not replaced while its attempt is made", async () => {
    const key = unique("key");
    await one.schedule(named(key));
    await owner.query(
      `update lapse.tasks set state = 'running', attempts = 1, owner = gen_random_uuid(), attempt_started_at = now(), lateness_ms = 0 where key = $1`,
      [key],
    );
    await expect(one.schedule(named(key, { on_conflict: text("replace") }))).rejects.toMatchObject(taken(key));
  });

  test("is free again once the task has ended", async () => {
    const key = unique("key");
    const first = await one.schedule(named(key));
    await flow.api.delete(`/v1/tasks/${first}`);
    expect(await one.schedule(named(key))).not.toBe(first);
  });
});

describe("a key that another open transaction has", () => {
  test.each([
    ["commits", "commit"],
    ["rolls back", "rollback"],
  ])("is waited for until it %s", async (_what, end) => {
    const key = unique("key");
    await one.query("begin");
    const first = await one.schedule(named(key));
    const second = other.schedule(named(key, { method: text("PUT") })).catch((error: unknown) => error);
    await waits(other);
    await one.query(end);
    if (end === "commit") expect(await second).toMatchObject(taken(key));
    else expect(await second).not.toBe(first);
    const rows = await rowsOf(key);
    expect(rows.map(({ id }) => id)).toEqual([end === "commit" ? first : await second]);
  });

  test("is answered 503 by the API within 3 s, and 409 after the commit; other keys and the queue are not held up", async () => {
    const [key, queue] = [unique("key"), unique("queue")];
    await one.query("begin");
    await one.schedule(named(key, { queue: text(queue) }));
    const startedMs = performance.now();
    const stopped = flow.api.post("/v1/tasks", { url, queue, key });
    const [keyed, keyless] = await Promise.all([
      flow.api.post("/v1/tasks", { url, queue, key: unique("key"), delay: "1h" }),
      flow.api.post("/v1/tasks", { url, queue, delay: "1h" }),
    ]);
    expect([keyed.status, keyless.status]).toEqual([201, 201]);
    expect(performance.now() - startedMs).toBeLessThan(refusedMsMax / 2);
    expect((await stopped).status).toBe(503);
    expect(performance.now() - startedMs).toBeLessThan(refusedMsMax);
    await one.query("commit");
    expect((await flow.api.post("/v1/tasks", { url, queue, key })).status).toBe(409);
  });

  test("of many sessions at once goes to exactly one", async () => {
    const key = unique("key");
    const roleUrl = one.url;
    const sessions = await Promise.all(Array.from({ length: 8 }, () => openSql(roleUrl)));
    const outcomes = await Promise.allSettled(
      sessions.map((session, i) => session.schedule(named(key, { delay: [`${i + 1} hours`, "interval"] }))),
    );
    const ids = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(ids).toHaveLength(1);
    expect(await rowsOf(key)).toMatchObject([{ id: ids[0] }]);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toMatchObject(taken(key));
    await Promise.all(sessions.map((session) => session.end()));
  });
});

describe("at an isolation level", () => {
  test.each(["read committed", "repeatable read", "serializable"])(
    "of %s a task is made and cancelled",
    async (level) => {
      const key = unique("key");
      await one.query(`begin isolation level ${level}`);
      const id = await one.schedule(named(key));
      expect(await one.schedule(named(key, { on_conflict: text("replace") }))).toBe(id);
      expect(await one.cancel({ key: text(key) })).toBe("cancelled");
      const second = await one.schedule(named(key));
      await one.query("commit");
      expect(await rowsOf(key)).toMatchObject([
        { id, state: "cancelled" },
        { id: second, state: "scheduled" },
      ]);
    },
  );

  test.each([
    ["read committed", "23505"],
    ["repeatable read", "40001"],
    ["serializable", "40001"],
  ])("of %s a key that was taken since the snapshot fails with %s", async (level, code) => {
    const key = unique("key");
    await one.query(`begin isolation level ${level}`);
    await one.query("select 1 from pg_roles limit 1");
    await other.schedule(named(key));
    await expect(one.schedule(named(key, { method: text("PUT") }))).rejects.toMatchObject({ code });
  });

  test.each([
    ["read committed", "cancelled"],
    ["repeatable read", "40001"],
    ["serializable", "40001"],
  ])("of %s a task that was changed since the snapshot is %s", async (level, outcome) => {
    const { id } = await flow.create();
    await one.query(`begin isolation level ${level}`);
    await one.query("select 1 from pg_roles limit 1");
    await flow.api.patch(`/v1/tasks/${id}`, { delay: "2h" });
    const verdict = await one.cancel({ id: [id, "uuid"] }).catch((error: { code: string }) => error.code);
    expect(verdict).toBe(outcome);
  });
});

describe("a tombstone", () => {
  test("of the API cancels what SQL brings, and is counted", async () => {
    const key = unique("key");
    await flow.api.post("/v1/tasks/cancel", { keys: [key], tombstone: "10m" });
    const id = await one.schedule(named(key));
    expect(await flow.read(id)).toMatchObject({ state: "cancelled", finishedAt: expect.any(String) });
  });

  test("of SQL cancels what the API and SQL bring, until it ends", async () => {
    const key = unique("key");
    expect(await one.cancel({ key: text(key), tombstone: ["10 minutes", "interval"] })).toBe("none");
    expect((await flow.api.post("/v1/tasks", { url, key })).task.state).toBe("cancelled");
    expect((await flow.read(await one.schedule(named(key)))).state).toBe("cancelled");
    await owner.query(
      "update lapse.tasks set due_at = now() - interval '1 second' where key = $1 and state = 'tombstone'",
      [key],
    );
    expect((await flow.read(await one.schedule(named(key)))).state).toBe("scheduled");
  });

  test("asked for while an attempt is in flight cancels what SQL brings meanwhile", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, delay: "1h" });
    const inFlight =
      "state = 'running', attempts = 1, attempt_started_at = now(), lateness_ms = 0, owner = gen_random_uuid()";
    await owner.query(`update lapse.tasks set ${inFlight} where id = $1`, [id]);
    expect(await one.cancel({ key: text(key), tombstone: ["10 minutes", "interval"] })).toBe("too-late");
    expect((await flow.read(await one.schedule(named(key)))).state).toBe("cancelled");
    expect((await flow.read(id)).state).toBe("running");
  });

  test("that has ended cancels none of those who come for its key at once", async () => {
    for (let round = 0; round < 30; round += 1) {
      const key = unique("key");
      await one.cancel({ key: text(key), tombstone: ["1 ms", "interval"] });
      await owner.query("select pg_sleep(0.003)");
      await Promise.allSettled([
        one.schedule(named(key, { method: text("PUT") })),
        other.schedule(named(key, { method: text("PATCH") })),
        flow.api.post("/v1/tasks", { url, key, delay: "1h" }),
      ]);
      const states = (await rowsOf(key)).map(({ state }) => state).filter((state) => state !== "tombstone");
      expect([round, states]).toEqual([round, ["scheduled"]]);
    }
  });

  test("that has ended, and that somebody else removes meanwhile, cancels nothing", async () => {
    const key = unique("key");
    await one.cancel({ key: text(key), tombstone: ["1 ms", "interval"] });
    const remover = await openSql(flow.service.databaseUrl);
    await remover.query("begin");
    await remover.query("select from lapse.tasks where key = $1 for update", [key]);
    const posted = flow.api.post("/v1/tasks", { url, key, delay: "1h" });
    await until(
      () => owner.query("select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"),
      (waiting) => waiting.length > 0,
    );
    await remover.query("delete from lapse.tasks where key = $1", [key]);
    await remover.query("commit");
    await remover.end();
    expect((await posted).task.state).toBe("scheduled");
  });

  test("of SQL cancels the live task and stands where it stood", async () => {
    const { id, key } = await flow.create({ key: unique("key") });
    expect(await one.cancel({ key: text(key ?? ""), tombstone: ["1 ms", "interval"] })).toBe("cancelled");
    expect(await rowsOf(key ?? "")).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ id, state: "cancelled" }),
        expect.objectContaining({ state: "tombstone" }),
      ]),
    );
  });
});

test("whatever came which way, the audit balances", async () => {
  expect((await flow.api.get("/v1/audit")).as<{ balanced: boolean }>().balanced).toBe(true);
});

// Owns the facts about accepting: that every task is stored once and counted once, and that no neighbour suffers from a row that is
// locked or that Postgres refuses.

import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { Acceptor } from "../../src/intake/acceptor.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { findStanding, insertArrivals, insertArrivalsIn, replaceTask } from "../../src/store/accept.ts";
import { readAudit } from "../../src/store/audit.ts";
import type { BoundStatement, Database, Rows } from "../../src/store/database.ts";
import { isDataFault, StoreUnavailableError } from "../../src/store/errors.ts";
import { KnownQueues } from "../../src/store/queues.ts";
import { arrival, newTask, noSignals, openStore, until } from "./store.ts";

/** While its answer is waited for. */
const later = { notAfter: Date.now() + 3_600_000 };

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

function acceptorOn(on: Database): Acceptor {
  return new Acceptor({ database: on, queues: new KnownQueues(on), clock: new Clock(), signals: noSignals });
}

const acceptor = acceptorOn(database);

/** The database, whose answers to writes are changed on their way. */
function withAnswers(change: (written: Rows) => Rows): Database {
  return {
    patient: database.patient,
    query: database.query.bind(database),
    transaction: database.transaction.bind(database),
    run: async (statement: BoundStatement) => change(await database.run(statement)),
  } as unknown as Database;
}

async function counts(queue: string): Promise<object> {
  const { queues } = await readAudit(database);
  const audit = queues.find((one) => one.queue === queue);
  return { accepted: audit?.accepted, live: audit?.live };
}

describe("a flush", () => {
  test("stores its tasks and counts them by queue", async () => {
    const [one, two] = [uuidv7(), uuidv7()];
    await new KnownQueues(database).ensure([one, two]);
    const arrivals = [one, two, one].map((queue) => arrival({ queue }));
    expect(await insertArrivals(database, arrivals, later)).toEqual(new Set(arrivals.map(({ id }) => id)));
    expect([await counts(one), await counts(two)]).toEqual([
      { accepted: 2, live: 2 },
      { accepted: 1, live: 1 },
    ]);
  });

  test("of a thousand tasks makes the row of their new queue once", async () => {
    let asked = 0;
    const query: Database["query"] = (work) => {
      asked += 1;
      return database.query(work);
    };
    const queues = new KnownQueues({ query } as Database);
    const [name, other] = [uuidv7(), uuidv7()];
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => queues.ensure(i === 999 ? [name, other] : [name])));
    const made = await store.query("select from lapse.queues where name in ($1, $2)", [name, other]);
    expect(made).toHaveLength(2);
    // One row each, and the defaults of all.
    expect(asked).toBe(3);
  });

  test("stores nothing once its answer is no longer waited for", async () => {
    const queue = uuidv7();
    await new KnownQueues(database).ensure([queue]);
    const arrivals = [arrival({ queue, key: "k" })];
    expect(await insertArrivals(database, arrivals, { notAfter: Date.now() - 1 })).toEqual(new Set());
    expect(await counts(queue)).toEqual({ accepted: 0, live: 0 });
    expect((await insertArrivals(database, arrivals, { notAfter: Date.now() + 5_000 })).size).toBe(1);
  });

  test("sent again as it is stores and counts nothing more", async () => {
    const queue = uuidv7();
    await new KnownQueues(database).ensure([queue]);
    const arrivals = [arrival({ queue }), arrival({ queue, key: "k" })];
    await insertArrivals(database, arrivals, later);
    expect(await insertArrivals(database, arrivals, later)).toEqual(new Set());
    expect(await counts(queue)).toEqual({ accepted: 2, live: 2 });
    for (const one of arrivals)
      expect(await database.query((connection) => findStanding(connection, one))).toMatchObject({ id: one.id });
  });

  test("sent again where a key came free meanwhile stores and counts the task that it had left out", async () => {
    const queue = uuidv7();
    const standing = await store.insert({ queue, key: "k" });
    const arrivals = [arrival({ queue }), arrival({ queue, key: "k" })];
    expect((await insertArrivals(database, arrivals, later)).size).toBe(1);
    await store.query("delete from lapse.tasks where id = $1", [standing]);
    expect((await insertArrivals(database, arrivals, later)).size).toBe(1);
    expect(await counts(queue)).toEqual({ accepted: 2, live: 2 });
  });

  test("leaves out a key that is live, and stores the rest", async () => {
    const queue = uuidv7();
    const standing = await store.insert({ queue, key: "k" });
    const [taken, free] = [arrival({ queue, key: "k" }), arrival({ queue, key: "other" })];
    expect(await insertArrivals(database, [taken, free], later)).toEqual(new Set([free.id]));
    expect(await counts(queue)).toEqual({ accepted: 1, live: 2 });
    expect(await database.query((connection) => findStanding(connection, taken))).toMatchObject({ id: standing });
  });
});

describe("an answer that is lost", () => {
  test("costs neither a task nor a count", async () => {
    const queue = uuidv7();
    let lost = 0;
    const losing = withAnswers((written) => {
      lost += 1;
      if (lost <= 2) throw new StoreUnavailableError(new Error("the connection broke after the commit"));
      return written;
    });
    const outcomes = await Promise.all(
      ["a", "b", null].map((key) => acceptorOn(losing).accept(newTask({ queue, key }))),
    );
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["created", "created", "created"]);
    expect(lost).toBeGreaterThan(2);
    expect(await counts(queue)).toEqual({ accepted: 3, live: 3 });
  });

  test("of a write within a transaction counts what that transaction stored alone", async () => {
    const queue = uuidv7();
    await new KnownQueues(database).ensure([queue]);
    const given = arrival({ queue });
    await insertArrivals(database, [given], later);
    await database.transaction((trx) => insertArrivalsIn(trx, [given], "scheduled"));
    expect(await counts(queue)).toEqual({ accepted: 1, live: 1 });
  });

  test("by connections that are cut again and again loses no task that was accepted, and counts each once", async () => {
    const queue = uuidv7();
    const accepted: string[] = [];
    const accept = async (): Promise<void> => {
      const outcome = await acceptor.accept(newTask({ queue, key: uuidv7() })).catch((error: unknown) => error);
      if (outcome instanceof Error && !(outcome instanceof StoreUnavailableError)) throw outcome;
      if (!(outcome instanceof Error) && (outcome as { kind: string }).kind === "created")
        accepted.push((outcome as { task: { id: string } }).task.id);
    };
    for (let round = 0; round < 15; round += 1) {
      const accepts = Array.from({ length: 20 }, accept);
      await store.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lapse' and datname = current_database()`,
      );
      await Promise.all(accepts);
    }
    const rows = await store.query<{ id: string }>("select id from lapse.tasks where queue = $1", [queue]);
    const stored = new Set(rows.map((row) => row.id));
    expect(accepted.filter((id) => !stored.has(id))).toEqual([]);
    expect(accepted.length).toBeGreaterThan(0);
    // The first reads may meet connections that were cut while nobody used them.
    const counted = await until(
      () => counts(queue).catch(() => null),
      (found) => found !== null,
    );
    expect(counted).toEqual({ accepted: stored.size, live: stored.size });
  });
});

describe("a stranger's open transaction", () => {
  /** Holds a key by a task of its own that nobody sees yet. */
  async function holdKey(queue: string, key: string) {
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query(
      `insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, url)
       values (gen_random_uuid(), $1, $2, 'scheduled', now(), now(), now(), now(), 'https://shop.example')`,
      [queue, key],
    );
    return stranger;
  }

  test("that holds a key delays no neighbour, with a key or without", async () => {
    const queue = uuidv7();
    const stranger = await holdKey(queue, "held");
    const held = acceptor.accept(newTask({ queue, key: "held" }));
    const neighbours = Array.from({ length: 40 }, (_, i) => newTask({ queue, key: i % 2 === 0 ? `free-${i}` : null }));
    // All of them are answered while the stranger still holds the key.
    const outcomes = await Promise.all(neighbours.map((task) => acceptor.accept(task)));
    expect(outcomes.filter((outcome) => outcome.kind !== "created")).toEqual([]);
    await stranger.query("rollback");
    expect(await held).toMatchObject({ kind: "created" });
    expect(await counts(queue)).toEqual({ accepted: 41, live: 41 });
  });

  test("that commits a key makes whoever waited for it look again", async () => {
    const queue = uuidv7();
    const stranger = await holdKey(queue, "held");
    const [rejected, kept] = [
      acceptor.accept(newTask({ queue, key: "held" })),
      acceptor.accept(newTask({ queue, key: "held", onConflict: "keep" })),
    ];
    await acceptor.accept(newTask({ queue })); // Both have been sent by then.
    await stranger.query("commit");
    expect([(await rejected).kind, (await kept).kind]).toEqual(["conflict", "existing"]);
  });

  test("that holds a key too long has its waiters told so, and nothing is stored for them", async () => {
    const queue = uuidv7();
    const stranger = await holdKey(queue, "held");
    const outcomes = await Promise.all([1, 2, 3].map(() => acceptor.accept(newTask({ queue, key: "held" }))));
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["locked", "locked", "locked"]);
    await stranger.query("rollback");
    expect(await counts(queue)).toEqual({ accepted: 0, live: 0 });
  });

  test("that holds a row lets a replace of it wait, and its neighbours go on", async () => {
    const queue = uuidv7();
    const id = await store.insert({ queue, key: "debounced", state: "paused" });
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [id]);
    const replacing = acceptor.accept(newTask({ queue, key: "debounced", onConflict: "replace", timeoutMs: 1_234 }));
    expect(await acceptor.accept(newTask({ queue, key: "other" }))).toMatchObject({ kind: "created" });
    await stranger.query("rollback");
    expect(await replacing).toMatchObject({ kind: "replaced", task: { id, state: "paused", timeoutMs: 1_234 } });
  });
});

describe("a task that Postgres refuses", () => {
  test("fails alone", async () => {
    const queue = uuidv7();
    const given = Array.from({ length: 20 }, (_, i) =>
      newTask({ queue, headers: { "x-note": i === 13 ? "\0" : "fine" } }),
    );
    const settled = await Promise.allSettled(given.map((task) => acceptor.accept(task)));
    const failed = settled.flatMap((result, i) =>
      result.status === "rejected" ? [{ i, isFault: isDataFault(result.reason) }] : [],
    );
    expect(failed).toEqual([{ i: 13, isFault: true }]);
    expect(await counts(queue)).toEqual({ accepted: 19, live: 19 });
  });
});

describe("tasks with one key at once", () => {
  test("become one task, whatever the number of them", async () => {
    const queue = uuidv7();
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, (_, i) => acceptor.accept(newTask({ queue, key: "k", timeoutMs: 1_000 + (i % 2) }))),
    );
    const kinds = Map.groupBy(outcomes, (outcome) => outcome.kind);
    expect([kinds.get("created")?.length, kinds.get("existing")?.length, kinds.get("conflict")?.length]).toEqual([
      1, 14, 15,
    ]);
    expect(await counts(queue)).toEqual({ accepted: 1, live: 1 });
  });

  test("that replace become one task with one of their definitions", async () => {
    const queue = uuidv7();
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        acceptor.accept(newTask({ queue, key: "k", onConflict: "replace", timeoutMs: 1_000 + i })),
      ),
    );
    expect(outcomes.map((outcome) => outcome.kind).toSorted()).toEqual(["created", ...Array(9).fill("replaced")]);
    const tasks = outcomes.flatMap((outcome) => ("task" in outcome ? [outcome.task] : []));
    const last = tasks.find((task) => task.version === 10);
    expect(await store.read(tasks[0]?.id ?? "")).toMatchObject({
      id: last?.id,
      timeout_ms: last?.timeoutMs,
      version: 10,
    });
  });
});

describe("a replace", () => {
  test("keeps the id, the pause and the attempts, and counts the budget anew", async () => {
    const id = await store.insert({ state: "paused", attempts: 3, reschedules: 2, key: uuidv7() });
    const given = arrival({ timeoutMs: 9_000, labels: { a: "b" } });
    await database.query((connection) => replaceTask(connection, id, given));
    expect(await store.read(id)).toMatchObject({
      state: "paused",
      timeout_ms: 9_000,
      labels: { a: "b" },
      due_at: given.dueAt,
      next_attempt_at: given.dueAt,
      attempts: 3,
      attempts_before: 3,
      attempts_at_due: 3,
      reschedules: 0,
      version: 2,
    });
  });

  test.each(["running", "succeeded", "failed", "cancelled", "missed", "tombstone"] as const)(
    "leaves a %s row as it is",
    async (state) => {
      const id = await store.insert({ state, key: uuidv7() });
      expect(await database.query((connection) => replaceTask(connection, id, arrival()))).toBeNull();
      expect(await store.read(id)).toMatchObject({ state, version: 1 });
    },
  );
});

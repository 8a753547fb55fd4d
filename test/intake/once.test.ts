// Owns the facts about requests under one Idempotency-Key that come at once to one process: one works, and the others have its answer.

import { sql } from "kysely";
import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import type { IdempotencyScope, StoredAnswer } from "../../src/intake/idempotency.ts";
import { Once, type OnceOutcome } from "../../src/intake/once.ts";
import { openStore, until } from "../store/store.ts";

const store = await openStore();
const once = new Once(store.database);
afterAll(() => store.close());

/** Longer than a write waits for a connection. */
const slowSeconds = 1.5;

function newScope(): IdempotencyScope {
  return { apiKeyId: "root", method: "POST", path: "/v1/tasks", key: uuidv7(), fingerprint: "fields" };
}

interface Requests {
  /** How many of them did the work. */
  readonly worked: number;
  ask(scope: IdempotencyScope): Promise<OnceOutcome>;
}

/** Requests whose work takes some seconds and ends with a status, or fails. */
function slowly(seconds: number, end: number | Error = 201): Requests {
  const slow = {
    worked: 0,
    ask: (idempotency: IdempotencyScope) =>
      once.answer<StoredAnswer>({
        idempotency,
        work: async (trx) => {
          slow.worked += 1;
          await sql`select pg_sleep(${seconds})`.execute(trx);
          if (end instanceof Error) throw end;
          return { status: end, headers: {}, body: "" };
        },
        render: (answer) => answer,
        locked: { status: 503, headers: {}, body: "" },
        onCommitted: () => undefined,
      }),
  };
  return slow;
}

const askMany = (requests: Requests, scope: IdempotencyScope): Promise<OnceOutcome[]> =>
  Promise.all(Array.from({ length: 30 }, () => requests.ask(scope)));

describe.concurrent("of requests at once", () => {
  test("one works, and the others need no connection and replay its answer", async () => {
    const slow = slowly(slowSeconds);
    const [first, ...others] = await askMany(slow, newScope());
    const outcome = { kind: "answered", answer: { status: 201, headers: {}, body: "" } };
    expect(first).toEqual({ ...outcome, replayed: false });
    expect(others).toEqual(others.map(() => ({ ...outcome, replayed: true })));
    expect(slow.worked).toBe(1);
  });

  test("all have an answer that is not kept, none as a replay, and the next one works anew", async () => {
    const [slow, scope] = [slowly(slowSeconds, 503), newScope()];
    const outcomes = await askMany(slow, scope);
    expect(outcomes.every((outcome) => outcome.kind === "answered" && !outcome.replayed)).toBe(true);
    expect(slow.worked).toBe(1);
    expect(await slowly(0).ask(scope)).toMatchObject({ answer: { status: 201 }, replayed: false });
  });

  test("all fail as the one that works does, and the next one works anew", async () => {
    const [failing, scope] = [slowly(0, new Error("no answer")), newScope()];
    const ends = await Promise.allSettled([failing.ask(scope), failing.ask(scope)]);
    expect(ends.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(failing.worked).toBe(1);
    expect(await slowly(0).ask(scope)).toMatchObject({ answer: { status: 201 }, replayed: false });
  });

  test("one with other fields is told so, and one of another API key works itself", async () => {
    const [slow, scope] = [slowly(slowSeconds), newScope()];
    const first = slow.ask(scope);
    await until(
      async () => slow.worked,
      (worked) => worked === 1,
    );
    const [other, another] = await Promise.all([
      slow.ask({ ...scope, fingerprint: "other fields" }),
      slow.ask({ ...scope, apiKeyId: "another" }),
      first,
    ]);
    expect(other).toEqual({ kind: "mismatch" });
    expect(another).toMatchObject({ kind: "answered", replayed: false });
  });

  test("those that waited 5 s for the one that works are told that it does", async () => {
    const [slow, scope] = [slowly(6), newScope()];
    const first = slow.ask(scope);
    const startedMs = performance.now();
    expect(await slow.ask(scope)).toEqual({ kind: "in-progress" });
    expect(performance.now() - startedMs).toBeGreaterThan(4_900);
    expect(await first).toMatchObject({ kind: "answered", replayed: false });
    expect(await slow.ask(scope)).toMatchObject({ kind: "answered", replayed: true });
    expect(slow.worked).toBe(1);
  });
});

// Goal: where a connection is cut after COMMIT, before its answer comes back, the same call again finds the one task, and an attempt is
// neither made nor recorded twice (P1, P5, P7, P9).
// Method: a proxy that lets each write commit, swallows its answer and resets the connection, until it is told to stop.

import { expect, onTestFinished, test } from "vitest";
import type { Answered } from "./caller.ts";
import { readHeld, untilSettled } from "./held.ts";
import { brokenPromises } from "./history.ts";
import { Rig } from "./rig.ts";
import { until } from "./until.ts";
import { testMsMax } from "./world.ts";

const settleMsMax = 20_000;
const laterMs = 600_000;
const cut = { kind: "cut-after-commit", every: 1 } as const;
const whole = { kind: "none" } as const;

test("a caller, a claim, an outcome and a cancel whose COMMIT is not answered are each done once", {
  timeout: testMsMax,
}, async () => {
  const rig = await Rig.start({ names: ["api-1", "dispatcher-1"] });
  onTestFinished(() => rig.close());
  const { caller, receivers } = rig;
  const [api, dispatcher] = [rig.member("api-1"), rig.member("dispatcher-1")];
  const url = receivers.url("/ok");
  /** The first call loses its answers; the second is the client's retry. */
  const twice = async (call: () => Promise<Answered>): Promise<[Answered, Answered]> => {
    const before = api.postgres.cutCount;
    api.postgres.set(cut);
    const first = await call();
    api.postgres.set(whole);
    expect(api.postgres.cutCount).toBeGreaterThan(before);
    return [first, await call()];
  };

  const task = (label: string) => ({ url, queue: "cut", delay: `${laterMs}ms`, labels: { call: label } });
  await caller.accept({ ...task("warm"), delay: "0s" });

  const [, kept] = await twice(() =>
    caller.acceptInsistently(task("by-key"), { idempotencyKey: "once", while: () => false }),
  );
  expect(kept.status).toBe(201);
  const [, keyed] = await twice(() => caller.accept({ ...task("keyed"), key: "order-1" }));
  expect(keyed.status).toBe(200);
  const [batched, again] = await twice(() => caller.acceptBatch([{ ...task("batched"), key: "order-2" }]));
  expect([200, 503]).toContain(batched.status);
  expect(again.status).toBe(200);

  const unwanted = await caller.accept({ ...task("unwanted"), key: "order-3" });
  const [, cancelled] = await twice(() => caller.cancel({ key: "order-3", queue: "cut" }));
  expect(cancelled).toMatchObject({ status: 200, task: { id: unwanted.task?.id, state: "cancelled" } });

  const before = receivers.count;
  dispatcher.postgres.set(cut);
  const fired = [
    await caller.accept({ ...task("fired"), delay: "200ms" }),
    await caller.accept({ ...task("other"), delay: "300ms" }),
  ];
  await until(() => receivers.count >= before + fired.length, settleMsMax);
  await until(() => dispatcher.postgres.cutCount >= 2, settleMsMax);
  dispatcher.postgres.set(whole);

  for (const answer of [kept, keyed]) await caller.change(answer.task?.id ?? "", "run");
  await caller.cancel({ key: "order-2", queue: "cut" });
  await untilSettled(rig.postgres.url, settleMsMax);
  const histories = { told: caller.told, seen: receivers.seen, ...(await readHeld(rig.postgres.url)) };
  expect(brokenPromises(histories, { latenessMsMax: null, deaths: [] })).toEqual([]);
  const states = Object.fromEntries(
    histories.tasks.map(({ label, state, attempts }) => [label, `${state} ${attempts}`]),
  );
  expect(histories.tasks).toHaveLength(7);
  expect(states).toEqual({
    warm: "succeeded 1",
    "by-key": "succeeded 1",
    keyed: "succeeded 1",
    batched: "cancelled 0",
    unwanted: "cancelled 0",
    fired: "succeeded 1",
    other: "succeeded 1",
  });
  expect(histories.seen).toHaveLength(5);
});

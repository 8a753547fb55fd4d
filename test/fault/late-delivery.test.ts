// Goal: what a network that stood still delivers after its caller was told 503, and has asked again, does nothing any more: the caller's
// retry finds one task, and a late cancel does not hit the next task of its key (P3, P9).
// Method: one API's way to Postgres stalls until a POST and a DELETE are given up; the caller asks the other API; then all is delivered.

import { expect, onTestFinished, test } from "vitest";
import { Caller } from "./caller.ts";
import { readHeld, untilSettled } from "./held.ts";
import { brokenPromises } from "./history.ts";
import { Rig } from "./rig.ts";
import { until } from "./until.ts";
import { testMsMax } from "./world.ts";

const settleMsMax = 20_000;
const queue = "late";

test("a POST and a cancel that arrive after they were given up do nothing", { timeout: testMsMax }, async () => {
  const rig = await Rig.start({ names: ["api-1", "api-2", "dispatcher-1"] });
  const [stalled, sound] = ["api-1", "api-2"].map((name) => new Caller(() => rig.member(name).url));
  if (stalled === undefined || sound === undefined) throw new Error("two APIs have a caller each");
  onTestFinished(async () => {
    await Promise.all([stalled.close(), sound.close()]);
    await rig.close();
  });
  const url = rig.receivers.url("/ok");
  const order = { url, queue, key: "order-1" };
  const reservation = { url, queue, key: "order-2", delay: "1h" };
  await stalled.accept({ url, queue });
  await sound.accept(reservation);

  rig.member("api-1").postgres.set({ kind: "stalled" });
  const givenUp = await Promise.all([stalled.accept(order), stalled.cancel({ key: "order-2", queue })]);
  expect(givenUp.map(({ status }) => status)).toEqual([503, 503]);
  expect((await sound.accept(order)).status).toBe(201);
  expect((await sound.cancel({ key: "order-2", queue })).status).toBe(200);
  const next = await sound.accept(reservation);
  expect(next.status).toBe(201);
  await until(() => rig.receivers.count === 2, settleMsMax);
  rig.member("api-1").postgres.set({ kind: "none" });

  // Behind what was held back on that way, all of which is delivered by then.
  await until(async () => (await stalled.accept({ url, queue })).status === 201, settleMsMax);
  expect((await sound.read(next.task?.id ?? "")).task?.state).toBe("scheduled");
  await sound.cancel({ key: "order-2", queue });
  await untilSettled(rig.postgres.url, settleMsMax);
  const histories = {
    told: [...stalled.told, ...sound.told],
    seen: rig.receivers.seen,
    ...(await readHeld(rig.postgres.url)),
  };
  expect(histories.tasks.filter(({ key }) => key === "order-1")).toHaveLength(1);
  expect(brokenPromises(histories, { latenessMsMax: null })).toEqual([]);
});

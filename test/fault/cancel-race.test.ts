// Goal: a cancel is final. Once it was answered with 200 the webhook is not sent, however close to the due time it came (P4).
// Method: tasks due in the same second on two dispatchers, each with a cancel at a random moment around its due time; the histories compared.

import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import { type Histories, seenRepeatedly } from "./history.ts";
import { sleepUntil } from "./until.ts";
import { makeWorld, testMsMax } from "./world.ts";

const taskCount = sized({ usual: 2_000, long: 20_000 });
/** From the first POST to the second in which all fall due: time to post them all, also on a slow machine. */
const aheadMs = sized({ usual: 12_000, long: 30_000 });
/** Cancels come within this of the due time: a third before it, and most while the queue's slots work through what is due. */
const cancelFromMs = -500;
const cancelUntilMs = sized({ usual: 1_000, long: 10_000 });
const answerMsMax = 40;
const latenessMsMax = sized({ usual: 10_000, long: 60_000 });

test("no task fires after its cancel was answered with 200, and every other fires", {
  timeout: testMsMax,
}, async () => {
  const { caller, receiver, start, expectPromisesKept } = await makeWorld();
  await start("api");
  await Promise.all([start("dispatcher"), start("dispatcher")]);

  // Calls take a while, so that many cancels come while one is in flight.
  receiver.answer(() => ({ delayMs: Math.random() * answerMsMax }));
  const base = Date.now() + aheadMs;
  const tasks = Array.from({ length: taskCount }, (_, i) => ({ key: `order-${i}`, dueAt: base + (i % 1_000) }));
  const posted = await Promise.all(
    tasks.map(({ key, dueAt }) => caller.accept({ url: receiver.url, key, dueAt: new Date(dueAt).toISOString() })),
  );
  expect(Date.now(), "the last POST was answered before the first due time").toBeLessThan(base + cancelFromMs);

  const ids = posted.map((answer) => answer.task?.id ?? "");
  const cancels = await Promise.all(
    tasks.map(async ({ key, dueAt }, i) => {
      await sleepUntil(dueAt + cancelFromMs + Math.random() * (cancelUntilMs - cancelFromMs));
      return caller.cancel(i % 2 === 0 ? { key } : { id: ids[i] ?? "" });
    }),
  );

  // Slots are the only thing that holds these tasks back: 100 of the queue at a time.
  const histories = await expectPromisesKept({ latenessMsMax });
  const reads = await Promise.all(ids.map((id) => caller.read(id)));
  const expected = ids.map((_, i) => (cancels[i]?.status === 200 ? "cancelled" : "succeeded"));
  expect(reads.map((answer) => answer.task?.state)).toEqual(expected);
  expect(idsSeen(histories)).toEqual(new Set(ids.filter((_, i) => expected[i] === "succeeded")));
  expect(seenRepeatedly(histories)).toEqual([]);
  expect(new Set(cancels.map((answer) => answer.status))).toEqual(new Set([200, 202, 409]));
});

function idsSeen({ seen }: Histories): Set<string> {
  return new Set(seen.map((request) => request.id));
}

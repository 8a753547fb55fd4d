// Goal: an outage of Postgres longer than a lease makes no dispatcher fire again what another has in flight (P1, P3, P5).
// Method: a kill -9 while calls are in flight, one of the dispatchers stopped until after the return; the histories compared.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { TestPostgres } from "../support/servers.ts";
import { type Outage, seenRepeatedly } from "./history.ts";
import { makeWorld, ownPostgres, testMsMax } from "./world.ts";

const timeout = testMsMax;
const latenessMsMax = 2_000;
/** A lease of 10 s, and then some. */
const longAwayMs = 12_000;
/** One of the owners comes back this much after Postgres: its lease has lapsed, and it must be given the time of one to renew. */
const slowReturnMs = 4_000;
const inFlightCount = 40;

test("calls in flight through an outage longer than a lease are settled by their own owner", { timeout }, async () => {
  const postgres = await ownPostgres();
  const { caller, receiver, start, untilSeen, expectPromisesKept } = await makeWorld({ postgres });
  const [during, after] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  receiver.answer(async ({ path }) => {
    if (path === "/during") await during.promise;
    if (path === "/after") await after.promise;
    return {};
  });
  await start("api");
  const [slow] = await Promise.all([start("dispatcher"), start("dispatcher")]);
  const posted = Array.from({ length: inFlightCount }, (_, i) =>
    caller.accept({
      url: `${receiver.url}/${i % 2 === 0 ? "during" : "after"}`,
      timeout: "5m",
      queue: `queue-${i % 4}`,
    }),
  );
  expect((await Promise.all(posted)).map((answer) => answer.status)).toEqual(posted.map(() => 201));
  await untilSeen(inFlightCount);
  const waiting = await caller.accept({ url: receiver.url, delay: "3s" });

  const away = takeAway(postgres, "SIGKILL", longAwayMs);
  await sleep(longAwayMs / 2);
  during.resolve();
  slow.kill("SIGSTOP");
  const outage = await away;
  await untilSeen(inFlightCount + 1);
  // Long enough for whoever wrongly took over to have fired.
  await sleep(slowReturnMs);
  slow.kill("SIGCONT");
  await sleep(latenessMsMax);
  after.resolve();

  const histories = await expectPromisesKept({ latenessMsMax, outages: [outage] });
  expect(histories.tasks.filter((task) => task.attempts !== 1 || task.state !== "succeeded")).toEqual([]);
  expect(histories.seen.filter((seen) => seen.id === waiting.task?.id)).toHaveLength(1);
  expect(seenRepeatedly(histories)).toEqual([]);
});

/** Ends the server, and starts it again after `awayMs`. */
async function takeAway(postgres: TestPostgres, signal: NodeJS.Signals, awayMs: number): Promise<Outage> {
  const from = Date.now();
  postgres.kill(signal);
  await sleep(awayMs);
  await postgres.restart();
  return { from, to: Date.now() };
}

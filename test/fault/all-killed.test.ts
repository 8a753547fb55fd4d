// Goal: kill -9 of the process and of its embedded servers loses nothing: after the restart every task fires, those overdue at once (P1, P3).
// Method: all of them killed while tasks wait, fall due and hang at the receiver; started again on the same folder; the histories compared.

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { makeDataDir } from "../embedded/support.ts";
import { sized } from "../support/size.ts";
import { seenRepeatedly } from "./history.ts";
import { makeWorld, testMsMax } from "./world.ts";

const taskCount = sized({ usual: 600, long: 6_000 });
const hangingCount = 20;
const dueEveryMs = sized({ usual: 20, long: 4 });
/** Tasks fall due before, while and after Lapse is down. */
const firstDueMs = 1_000;
const downMs = 2_000;
const overdueMsMax = 2_000;

test("after kill -9 of everything, every task fires, those overdue at once", { timeout: testMsMax }, async () => {
  const { caller, receiver, start, callAt, untilSeen, expectPromisesKept, runningMs } = await makeWorld({
    dataDir: makeDataDir(),
  });
  receiver.answer((request) => ({ hang: request.path === "/hang" && request.headers["lapse-attempt"] === "1" }));
  const first = await start("all");
  const { url } = receiver;
  const waiting = Array.from({ length: taskCount }, (_, i) =>
    caller.accept({ url, key: `order-${i}`, delay: `${firstDueMs + i * dueEveryMs}ms` }),
  );
  const hanging = Array.from({ length: hangingCount }, () => caller.accept({ url: `${url}/hang`, timeout: "5m" }));
  const posted = await Promise.all([...waiting, ...hanging]);
  expect(posted.map((answer) => answer.status)).toEqual(posted.map(() => 201));
  await untilSeen(hangingCount + taskCount / 10);

  const from = Date.now();
  for (const pid of familyOf(first.pid)) process.kill(pid, "SIGKILL");
  await first.exited;
  await sleep(downMs);
  callAt(await start("all"));
  const to = Date.now();

  const histories = await expectPromisesKept({ latenessMsMax: overdueMsMax, outages: [{ from, to }] });
  expect(histories.tasks).toHaveLength(posted.length);
  expect(histories.tasks.filter((task) => task.state !== "succeeded")).toEqual([]);
  // What was in flight is fired again, and nothing else.
  const lost = histories.attempts.filter((attempt) => attempt.outcome === "lost").map((attempt) => attempt.taskId);
  expect(lost.length).toBeGreaterThanOrEqual(hangingCount);
  expect(seenRepeatedly(histories).filter((id) => !lost.includes(id))).toEqual([]);
  const again = histories.seen.filter((seen) => seen.attempt > 1);
  const lastAt = Math.max(...again.map((seen) => seen.arrivedAt));
  expect(runningMs(to, lastAt)).toBeLessThanOrEqual(overdueMsMax);
});

/** A process and all that descend from it, guards too. Needs /proc. */
function familyOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    parents.set(Number(name), parentOf(name));
  const family = [pid];
  for (const member of family) for (const [child, parent] of parents) if (parent === member) family.push(child);
  return family;
}

/** `pid (name) state ppid …`, and the name may have spaces and brackets. */
function parentOf(pid: string): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0; // It has ended meanwhile.
  }
}

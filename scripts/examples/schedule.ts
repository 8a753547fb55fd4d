// Owns the example of a poll by a schedule: each look is a task of its own, and the receiver ends the schedule (`lapse-schedule: end`).

import { randomUUID } from "node:crypto";
import { call, type Ended, type ExampleOptions, serveHook, StagedJob, untilState } from "./stages.ts";

/** Runs the job through its stages; resolves once it succeeded, or to its first error. */
export async function pollBySchedule({ url, every, failing, say }: ExampleOptions): Promise<Ended> {
  const job = new StagedJob(failing);
  const ended = Promise.withResolvers<"all done" | "failed">();
  const hook = await serveHook(() => {
    const look = job.look();
    say(`look ${job.looks}: ${look}`);
    const isOver = look === "all done" || look === "failed";
    if (isOver) ended.resolve(look);
    // A 2xx: the look itself went well, and the schedule ends with it. What it made ahead is cancelled in the same transaction.
    return { status: 200, headers: isOver ? { "lapse-schedule": "end" } : {} };
  });
  try {
    const schedule = await call("POST", `${url}/v1/schedules`, {
      name: `order-1042:${randomUUID()}`,
      trigger: { type: "interval", every },
      url: hook.url,
      payload: { order: 1042 },
    });
    const outcome = await ended.promise;
    return {
      outcome,
      looks: job.looks,
      state: await untilState(`${url}/v1/schedules/${String(schedule["id"])}`, ["ended"]),
    };
  } finally {
    hook.close();
  }
}

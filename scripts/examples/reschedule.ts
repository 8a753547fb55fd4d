// Owns the example of a poll by one task: its receiver says when to look again (`lapse-reschedule`), and stops by leaving that out.

import { call, type Ended, type ExampleOptions, type Look, serveHook, StagedJob, untilState } from "./stages.ts";

/** A stage that never ends must not be asked for ever: one look more ends the task `failed`. */
const reschedulesMax = 100;

/** Runs the job through its stages; resolves once it succeeded, or to its first error. */
export async function pollByReschedule({ url, every, failing, say }: ExampleOptions): Promise<Ended> {
  const job = new StagedJob(failing);
  const ended = Promise.withResolvers<"all done" | "failed">();
  const hook = await serveHook(() => {
    const look = job.look();
    say(`look ${job.looks}: ${look}`);
    if (look === "all done" || look === "failed") ended.resolve(look);
    return answerTo(look, every);
  });
  try {
    const body = { url: hook.url, payload: { order: 1042 }, maxReschedules: reschedulesMax };
    const task = await call("POST", `${url}/v1/tasks`, body);
    const outcome = await ended.promise;
    return {
      outcome,
      looks: job.looks,
      state: await untilState(`${url}/v1/tasks/${String(task["id"])}`, ["succeeded", "failed"]),
    };
  } finally {
    hook.close();
  }
}

function answerTo(look: Look, every: string): { status: number; headers: Record<string, string> } {
  switch (look) {
    case "all done":
      return { status: 200, headers: {} };
    case "failed":
      // At the first error: no attempt more.
      return { status: 500, headers: { "lapse-no-retry": "true" } };
    default:
      return { status: 200, headers: { "lapse-reschedule": every } };
  }
}

// Owns telling of origins that are parked and resumed, as events. Beside the calls: none waits for it.

import { sleep } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Database } from "../store/database.ts";
import { recordEvents } from "../store/events.ts";
import type { Change } from "./origin.ts";

/** Where Postgres is away. After that the log and the metric alone have told of it. */
const triesMax = 10;
const tryAgainMs = 1_000;

/** Writes the events in the order of the changes. */
export function createOriginRecorder(database: Database, log: Log): (origin: string, change: Change) => void {
  let last: Promise<void> = Promise.resolve();
  const record = async (origin: string, change: Change): Promise<void> => {
    const event = { type: `origin.${change}`, queue: null, taskId: null, key: null, data: { origin } } as const;
    for (let tries = 1; ; tries += 1) {
      try {
        return await database.query((connection) => recordEvents(connection, [event]));
      } catch (error) {
        if (tries >= triesMax) return log.warn({ err: error, origin }, "event.unwritten");
        await sleep(tryAgainMs);
      }
    }
  };
  return (origin, change) => {
    last = last.then(() => record(origin, change));
  };
}

// Owns the edge of the two examples of polling: options, output and exit code.

import "../src/runtime/require-node.ts";
import { parseArgs } from "node:util";
import { pollByReschedule } from "./examples/reschedule.ts";
import { pollBySchedule } from "./examples/schedule.ts";

const help = `node scripts/poll-example.ts --by reschedule|schedule: a job that looks every 58 s whether each of its stages (payment,
packing, shipping) is done, goes on to the next, and stops at success or at the first error. Needs a Lapse that may call loopback,
such as one of \`npm start\`.

  --by HOW      reschedule: one task, whose receiver says when to look again; schedule: a task a look, until the receiver ends it
  --url URL     Lapse (default http://127.0.0.1:8080)
  --fast        look every second instead
  --fail STAGE  which stage fails`;

const exitCodes = { fine: 0, badOption: 2 } as const;
const ways = { reschedule: pollByReschedule, schedule: pollBySchedule } as const;

const { values } = parseArgs({
  options: {
    by: { type: "string" },
    url: { type: "string", default: "http://127.0.0.1:8080" },
    fast: { type: "boolean", default: false },
    fail: { type: "string" },
    help: { type: "boolean" },
  },
});
const { by, url, fast, fail = null } = values;

if (values.help === true) console.log(help);
else if (by !== "reschedule" && by !== "schedule") {
  console.error("poll-example: --by must be reschedule or schedule");
  process.exitCode = exitCodes.badOption;
} else {
  const say = (line: string): void => console.log(line);
  const { outcome, looks, state } = await ways[by]({ url, every: fast ? "1s" : "58s", failing: fail, say });
  console.log(`${outcome} after ${looks} looks: the ${by === "schedule" ? "schedule" : "task"} is ${state}`);
}

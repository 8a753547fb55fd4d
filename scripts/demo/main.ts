// Owns the demo's edge: options, signals and exit codes. demo.ts has the story.

import "../../src/runtime/require-node.ts";
import { parseArgs } from "node:util";
import { runDemo } from "./demo.ts";

const exitCodes = { fine: 0, faulty: 1, badOption: 2 } as const;
/** Exit codes of what a signal ended. */
const signalExits = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const orderLimits = { default: 400, min: 20, max: 2_000 } as const;

const help = `npm run demo [-- --orders N]

Starts Lapse on its embedded servers, in a folder that is removed afterwards, and a small shop on it. The shop places orders,
each with a payment deadline: a task that Lapse fires unless it is cancelled by its key. Of five customers three pay in time,
one at the last moment and one never. In the end no order may be both paid and lapsed, or neither.

  --orders N   how many orders, ${orderLimits.min} to ${orderLimits.max} (default ${orderLimits.default})
  --help       this

Exit code 0: all is as it should be. 1: it is not, and it says what. 2: a bad option.`;

const orderCount = readOrderCount();
const stopping = new AbortController();
let exitCode: number = exitCodes.faulty;
for (const [signal, code] of Object.entries(signalExits)) {
  process.on(signal, () => {
    exitCode = code;
    stopping.abort(`ended by ${signal}`);
  });
}
// Not an exit: what was started is ended on the way out.
process.on("uncaughtException", (error) => stopping.abort(error));

try {
  const isFine = await runDemo({ orderCount, random: Math.random, out: process.stdout, stopping });
  exitCode = isFine ? exitCodes.fine : exitCodes.faulty;
} catch (error) {
  console.error("demo:", stopping.signal.aborted ? stopping.signal.reason : error);
}
process.exit(exitCode);

function readOrderCount(): number {
  const { min, max } = orderLimits;
  try {
    const { values } = parseArgs({ options: { orders: { type: "string" }, help: { type: "boolean" } } });
    if (values.help) {
      console.log(help);
      process.exit(exitCodes.fine);
    }
    const count = Number(values.orders ?? orderLimits.default);
    if (Number.isInteger(count) && count >= min && count <= max) return count;
    throw new Error(`--orders: expected a whole number from ${min} to ${max}, got "${values.orders}"`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(exitCodes.badOption);
  }
}

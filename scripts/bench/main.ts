// Owns `npm run bench`: what Lapse does on this machine, one JSON line a figure.
//   npm run bench [-- --only accept|drain|lateness|isolation|events]

import { parseArgs } from "node:util";
import { measureEvents } from "./events.ts";
import { measureIsolation } from "./isolation.ts";
import { measureAccept, measureDrain, measureLateness } from "./measurements.ts";
import { machine, type Rig, startRig } from "./rig.ts";

type Figure = Readonly<Record<string, unknown>>;

const measurements: Readonly<Record<string, () => Promise<Figure>>> = {
  accept: onRig(measureAccept),
  drain: onRig(measureDrain),
  lateness: onRig(measureLateness),
  isolation: onRig(measureIsolation),
  events: measureEvents,
};

const { values } = parseArgs({ options: { only: { type: "string" }, help: { type: "boolean" } } });
if (values.help || (values.only !== undefined && !(values.only in measurements))) {
  console.log(`npm run bench [-- --only ${Object.keys(measurements).join("|")}]`);
  process.exit(values.help ? 0 : 2);
}

for (const [name, measure] of Object.entries(measurements)) {
  if (values.only !== undefined && values.only !== name) continue;
  console.log(JSON.stringify({ figure: name, ...(await measure()), machine: machine() }));
}

/** Each on a service just started. */
function onRig(measure: (rig: Rig) => Promise<Figure>): () => Promise<Figure> {
  return async () => {
    const rig = await startRig();
    try {
      return await measure(rig);
    } finally {
      await rig.stop();
    }
  };
}

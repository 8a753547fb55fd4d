// Owns `npm run bench`: what Lapse does on this machine, one JSON line a figure.
//   npm run bench [-- --only accept|drain|lateness|isolation]

import { parseArgs } from "node:util";
import { measureIsolation } from "./isolation.ts";
import { measureAccept, measureDrain, measureLateness } from "./measurements.ts";
import { machine, type Rig, startRig } from "./rig.ts";

const measurements: Readonly<Record<string, (rig: Rig) => Promise<Readonly<Record<string, unknown>>>>> = {
  accept: measureAccept,
  drain: measureDrain,
  lateness: measureLateness,
  isolation: measureIsolation,
};

const { values } = parseArgs({ options: { only: { type: "string" }, help: { type: "boolean" } } });
if (values.help || (values.only !== undefined && !(values.only in measurements))) {
  console.log(`npm run bench [-- --only ${Object.keys(measurements).join("|")}]`);
  process.exit(values.help ? 0 : 2);
}

for (const [name, measure] of Object.entries(measurements)) {
  if (values.only !== undefined && values.only !== name) continue;
  const rig = await startRig();
  try {
    console.log(JSON.stringify({ figure: name, ...(await measure(rig)), machine: machine() }));
  } finally {
    await rig.stop();
  }
}

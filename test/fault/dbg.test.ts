import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { makeWorld } from "./world.ts";
import { startLapse } from "../support/process.ts";
test.each(["bare", "default"])("x %s", { timeout: 120_000 }, async (kind) => {
  const w = await makeWorld({ redisUrl: null });
  let api, disp;
  if (kind === "bare") { api = await w.start("api"); disp = await w.start("dispatcher"); }
  else {
    api = await startLapse({ env: { DATABASE_URL: w.databaseUrl, LAPSE_ROLE: "api", LAPSE_ALLOW_PRIVATE_TARGETS: "true", LAPSE_DATA_DIR: "/tmp/dbgd1" } });
    disp = await startLapse({ env: { DATABASE_URL: w.databaseUrl, LAPSE_ROLE: "dispatcher", LAPSE_ALLOW_PRIVATE_TARGETS: "true", LAPSE_DATA_DIR: "/tmp/dbgd2" } });
    w.callAt(api);
  }
  await sleep(1500);
  for (let i = 0; i < 60; i += 1) { await w.caller.accept({ url: w.receiver.url, delay: `${(i % 5) * 50}ms` }); await sleep(37); }
  const h = await w.expectPromisesKept({ latenessMsMax: 2000 });
  const late = h.seen.map((x) => Math.round(x.arrivedAt - x.dueAt)).toSorted((a, b) => a - b);
  console.log(kind, late.join(" "));
  console.log(api.lines.join("\n").slice(0, 1000), disp.lines.join("\n").slice(0, 1000));
  api.kill("SIGTERM"); disp.kill("SIGTERM"); console.log(await api.exited, await disp.exited);
});

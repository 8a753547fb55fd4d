import { setTimeout as sleep } from "node:timers/promises";
import { execSync } from "node:child_process";
import { test } from "vitest";
import { makeWorld } from "./world.ts";
test("x", { timeout: 120_000 }, async () => {
  const w = await makeWorld();
  await w.start("api");
  const a = await w.start("dispatcher");
  const b = await w.start("dispatcher");
  await sleep(1000);
  a.kill("SIGSTOP");
  await sleep(13_000);
  a.kill("SIGCONT");
  await sleep(3_000);
  console.log(a.lines.map((l) => l.slice(0, 200)).join("\n"));
  console.log(b.lines.map((l) => l.slice(0, 200)).join("\n"));
  console.log(execSync(`cat /proc/${a.pid}/status | head -20; ls /proc/${a.pid}/task; for t in /proc/${a.pid}/task/*; do cat $t/comm $t/wchan; echo; done; top -b -n1 -p ${a.pid} | tail -2`).toString());
  console.log(await fetch(`${a.url}/healthz`, { signal: AbortSignal.timeout(2000) }).then((r) => r.status, String));
});

// That a program which imports the size first has so many threads for lookups: each of a dozen is kept busy by opening a pipe that nobody
// writes to, and the next piece of work is done all the same.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const busy = 12;
const threadPool = JSON.stringify(new URL("../../src/runtime/thread-pool.ts", import.meta.url).href);

/** Resolves to what the program says once its work is done; null where it says nothing within 20 s. */
async function say(pipe: string): Promise<string | null> {
  const program = `import ${threadPool};
    import { open, stat } from "node:fs";
    for (let thread = 0; thread < ${busy}; thread++) open(${JSON.stringify(pipe)}, "r", () => undefined);
    stat("/", () => console.log("done " + process.env.UV_THREADPOOL_SIZE));`;
  const env = { ...process.env, UV_THREADPOOL_SIZE: undefined };
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { env });
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const said = await Promise.race([
    once(child.stdout, "data").then(([chunk]) => String(chunk).trim()),
    once(child, "exit").then(() => null),
  ]);
  clearTimeout(timer);
  child.kill("SIGKILL");
  return said;
}

test("work that hangs leaves threads for other work", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lapse-pool-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  expect(await say(pipe)).toBe("done 64");
});

// Owns a Lapse that a benchmark measures: a process of its own, started as users start it, whose log is quiet while all goes well.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Of the log: what goes its usual way. */
const infoLine = /^\{"level":[1-3]0,/;

/** None outlives the benchmark, however it ends. */
const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

export interface LapseProcess {
  readonly address: string;
  /** Ends it as an operator does. */
  stop(): Promise<void>;
}

/** `folder`: the checkout that runs, this one where none is named. Rejects where it ends before it listens. */
export async function startLapse(
  settings: Readonly<Record<string, string>>,
  folder = process.cwd(),
): Promise<LapseProcess> {
  const child = spawn(process.execPath, ["src/main.ts"], {
    cwd: folder,
    env: { ...process.env, PORT: "0", ...settings },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  children.add(child);
  void exited.then(() => children.delete(child));
  createInterface(child.stderr).on("line", (line) => {
    if (!infoLine.test(line)) console.error(`lapse: ${line}`);
  });
  return {
    address: await readAddress(child),
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function readAddress({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("the service has no standard output");
  for await (const line of createInterface(stdout)) {
    const address = /^lapse: listening on (\S+)$/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("the service ended before it was ready");
}

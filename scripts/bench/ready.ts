// Owns waiting for a Lapse that was started.

import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

/** Resolves to the address that it says on its standard output; rejects where it ends before. */
export async function readAddress({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("the service has no standard output");
  for await (const line of createInterface(stdout)) {
    const address = /^lapse: listening on (\S+)$/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("the service ended before it was ready");
}

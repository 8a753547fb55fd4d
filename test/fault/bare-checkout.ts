// Owns a checkout as it is on a machine without Redis: the set-up's cache is not there, and neither is a redis-server on the PATH.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const projectFolder = fileURLToPath(new URL("../..", import.meta.url));
/** A PATH on which nothing is; programs that Lapse needs are named in full. */
export const barePath = "/nonexistent";

/** The sources copied, the packages linked; gone with the test. */
export function makeBareCheckout(): string {
  const folder = mkdtempSync(join(tmpdir(), "lapse-bare-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const part of ["src", "sql", "package.json"])
    cpSync(join(projectFolder, part), join(folder, part), { recursive: true });
  const packages = join(projectFolder, "node_modules");
  mkdirSync(join(folder, "node_modules"));
  for (const name of readdirSync(packages).filter((entry) => !entry.startsWith(".")))
    symlinkSync(join(packages, name), join(folder, "node_modules", name));
  return folder;
}

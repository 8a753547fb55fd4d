// Owns the folder of a benchmark's servers.

import { chmod, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Others may pass: as root, PostgreSQL's own user enters it, and no files are kept elsewhere, where they would outlive the run. */
export async function makeDataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lapse-bench-"));
  await chmod(folder, 0o711);
  return folder;
}

// Owns making the data folder.

import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { SettingError } from "../runtime/setting-error.ts";

/** Makes the folder where it is missing. Throws, with one line for the operator, where that cannot be, or nothing can be written there. */
export function makeDataDir(dataDir: string): void {
  try {
    makeFolder(dataDir);
    accessSync(dataDir, constants.W_OK | constants.X_OK);
  } catch (cause) {
    const fault = `expected a folder that can be made and written to, got ${dataDir}`;
    throw new SettingError("LAPSE_DATA_DIR", fault, { cause });
  }
}

/** Level by level: Node's `recursive` tries for ever where a folder stands and says ENOENT of what is below, as /proc does. */
function makeFolder(folder: string): void {
  if (isFolder(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o711 }); // As root the server's own user has to pass.
  } catch (error) {
    if (!isFolder(folder)) throw error; // Another process may just have made it.
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

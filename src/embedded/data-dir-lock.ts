// Owns the claim on a data folder: one Lapse a folder, and a killed one holds nothing up.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { SettingError } from "../runtime/setting-error.ts";
import { makeDataDir } from "./data-dir.ts";

export interface DataDirLock {
  release(): void;
}

/**
 * Takes the folder for this process, making it where it is missing. Throws where another process has it.
 * The lock is SQLite's on an empty file, that is the kernel's: it ends with the process, however that ends, where a file with a
 * process id would have to be judged stale or not.
 */
export function lockDataDir(dataDir: string): DataDirLock {
  makeDataDir(dataDir);
  const ownerFile = join(dataDir, "owner.pid");
  const database = new DatabaseSync(join(dataDir, "lock"), { timeout: 0 });
  try {
    database.exec("pragma locking_mode = exclusive; begin exclusive");
  } catch (cause) {
    database.close();
    throw new SettingError("LAPSE_DATA_DIR", inUse(dataDir, ownerFile), { cause });
  }
  writeFileSync(ownerFile, `${process.pid}\n`);
  return { release: () => database.close() };
}

function inUse(dataDir: string, ownerFile: string): string {
  let owner = "another process";
  try {
    owner = `process ${readFileSync(ownerFile, "utf8").trim()}`;
  } catch {
    // It has only just taken the lock.
  }
  return `${dataDir} is in use by ${owner}: stop it, name another folder, or set DATABASE_URL`;
}

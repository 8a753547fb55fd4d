// Owns taking away what Lapse made on this machine: what it built and fetched, and the embedded servers' files with their data.

import "../src/runtime/require-node.ts";
import { existsSync, globSync, readdirSync, readFileSync, rmSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readConfig } from "../src/config.ts";
import { lockDataDir } from "../src/embedded/data-dir-lock.ts";
import { originFile, systemHome } from "../src/embedded/data-home.ts";
import { systemFolder } from "../src/embedded/postgres-binaries.ts";

const help = `npm run clean: removes dist, coverage, what the set-up fetched, and the embedded database in LAPSE_DATA_DIR (default .lapse),
with all its tasks. Below ${systemFolder}: that of this folder, those of folders that are gone, and programs nobody uses any more.`;

const ownFiles = [
  "postgres",
  "postgres.new",
  "postgres.pw",
  "postgres.log",
  "redis.log",
  "password",
  "lock",
  "owner.pid",
];
const rootFolder = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({ options: { help: { type: "boolean" } } });
if (values.help) console.log(help);
else clean();

function clean(): void {
  const result = readConfig({ LAPSE_DATA_DIR: process.env["LAPSE_DATA_DIR"] });
  if ("config" in result) cleanData(result.config.dataDir);
  cleanSystemFolder();
  for (const name of ["dist", "coverage", "node_modules/.cache/lapse"]) remove(join(rootFolder, name));
}

/** Throws, with one line, while a Lapse uses the folder. */
function cleanData(dataDir: string): void {
  if (!existsSync(dataDir)) return;
  const lock = lockDataDir(dataDir);
  const home = systemHome(dataDir);
  lock.release();
  remove(home);
  // By name: the folder may hold other things than ours.
  for (const name of ownFiles) remove(join(dataDir, name));
  if (readdirSync(dataDir).length === 0) remove(dataDir);
}

function cleanSystemFolder(): void {
  for (const origin of globSync(join(systemFolder, "data-*", originFile))) {
    if (!existsSync(readFileSync(origin, "utf8").trim())) remove(join(origin, ".."));
  }
  if (globSync(join(systemFolder, "data-*")).length > 0) return;
  for (const programs of globSync(join(systemFolder, "postgresql-*"))) remove(programs);
  if (existsSync(systemFolder) && globSync(join(systemFolder, "*")).length === 0) rmdirSync(systemFolder);
}

function remove(path: string): void {
  if (!existsSync(path)) return;
  rmSync(path, { recursive: true, force: true });
  console.log(`clean: removed ${path}`);
}

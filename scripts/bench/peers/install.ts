// Owns which peers there are, and installing them: beside this file, exactly as their lock file says, when a run first needs them.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const lockFile = `${folder}package-lock.json`;
/** A copy of the lock file by which they were installed. */
const installedFile = `${folder}node_modules/.installed-lock.json`;

/** As pinned. */
export function versionOf(name: string): string {
  const { dependencies } = JSON.parse(readFileSync(`${folder}package.json`, "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  return dependencies[name] ?? "";
}

/** Throws where npm cannot install them. */
export function installPeers(): void {
  if (existsSync(installedFile) && readFileSync(installedFile).equals(readFileSync(lockFile))) return;
  console.error(`bench: npm ci in ${folder}`);
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], {
    cwd: folder,
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) throw new Error("the peers cannot be installed; `--against limit` measures Lapse without them");
  copyFileSync(lockFile, installedFile);
}

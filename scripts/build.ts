// Owns the build: src to JavaScript in dist, with the files beside the code that it reads at run time (Lua, the docs page).

import "../src/runtime/require-node.ts";
import { spawnSync } from "node:child_process";
import { cpSync, globSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const rootFolder = fileURLToPath(new URL("..", import.meta.url));
const dist = join(rootFolder, "dist");

rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(join(rootFolder, "node_modules/.bin/tsc"), ["-p", "scripts/tsconfig.build.json"], {
  cwd: rootFolder,
  stdio: "inherit",
});
process.exitCode = status ?? 1;

const assets = globSync("**/*", { cwd: join(rootFolder, "src"), withFileTypes: true }).filter(
  (entry) => entry.isFile() && !entry.name.endsWith(".ts"),
);
for (const { parentPath, name } of assets) {
  const from = join(parentPath, name);
  cpSync(from, from.replace(join(rootFolder, "src"), dist));
}
console.log(`build: dist, with ${assets.length} files that are not code`);

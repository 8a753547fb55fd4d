#!/usr/bin/env node
// Owns finding the command line's code: the built one, or in a clone the source, under Node 24 in either case.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const nodeMajorMin = 24;
const source = new URL("../src/cli.ts", import.meta.url);
const built = new URL("../dist/cli.js", import.meta.url);
const bundledNode = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));

if (Number.parseInt(process.versions.node, 10) >= nodeMajorMin) {
  // Node does not run TypeScript below node_modules.
  await import(existsSync(source) && !source.pathname.includes("/node_modules/") ? source.href : built.href);
} else if (existsSync(bundledNode)) {
  const { status } = spawnSync(bundledNode, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} else {
  console.error(
    `Lapse needs Node ${nodeMajorMin} or later, this is ${process.versions.node}: install it, or run npm ci, which brings one.`,
  );
  process.exitCode = 2;
}

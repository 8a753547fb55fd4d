// Owns the check of import directions: runs dependency-cruiser by .dependency-cruiser.mjs, and fails where it read too little to judge.

import "../src/runtime/require-node.ts";
import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const rootFolder = fileURLToPath(new URL("..", import.meta.url));
const outputBytesMax = 64 * 1024 * 1024;

interface Report {
  readonly modules: readonly { readonly source: string; readonly dependencies: readonly unknown[] }[];
  readonly summary: {
    readonly violations: readonly {
      readonly rule: { readonly name: string };
      readonly from: string;
      readonly to: string;
    }[];
  };
}

const report = JSON.parse(
  execFileSync("node_modules/.bin/depcruise", ["--config", ".dependency-cruiser.mjs", "--output-type", "json", "src"], {
    cwd: rootFolder,
    encoding: "utf8",
    maxBuffer: outputBytesMax,
    stdio: ["ignore", "pipe", "ignore"],
  }),
) as Report;

const faults = report.summary.violations.map(({ rule, from, to }) => `${from} imports ${to}: ${rule.name}`);
// The tool says "no violations" over files that it could not parse, too.
const read = new Set(report.modules.map(({ source }) => source));
const files = globSync("src/**/*.ts", { cwd: rootFolder });
const importCount = report.modules.reduce((count, { dependencies }) => count + dependencies.length, 0);
for (const file of files) if (!read.has(file)) faults.push(`${file} was not read`);
if (files.length === 0 || importCount === 0) faults.push("no modules were read: is @swc/core installed?");

for (const fault of faults) console.error(fault);
console.log(`layers: ${files.length} files, ${importCount} imports, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

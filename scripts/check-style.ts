// Owns the rules of style that the linter has no rule for: time that is read in passing, and files that do not say what they own.

import "../src/runtime/require-node.ts";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
}

const rootFolder = fileURLToPath(new URL("..", import.meta.url));
const timeOwners = new Set(["src/runtime/clock.ts", "src/service.ts"]);

/** In src, outside the owners of time. */
const timeBans: readonly Ban[] = [
  { pattern: /\bnew Date\(\s*\)/, instead: "take a Clock: time comes in by the door" },
  { pattern: /\bDateTime\.(now|local|utc)\(\s*\)/, instead: "take a Clock: time comes in by the door" },
  { pattern: /\bperformance\.now\(/, instead: "use monotonicMs of src/runtime/clock.ts" },
  { pattern: /\bhrtime\b/, instead: "use monotonicMs of src/runtime/clock.ts" },
  { pattern: /\bglobalThis\.(setTimeout|setInterval)\b/, instead: "use sleep or startTimer of src/runtime/clock.ts" },
];

const faults: string[] = [];
const files = globSync(["src/**/*.ts", "scripts/**/*.ts", "test/support/**/*.ts"], {
  cwd: rootFolder,
  exclude: ["**/*.test.ts", "**/node_modules/**"],
}).toSorted();
for (const file of files) {
  const text = readFileSync(join(rootFolder, file), "utf8");
  if (!/^(#!.*\n)?\/\/ \S/.test(text)) faults.push(`${file}:1: opens without saying what it owns`);
  if (file.startsWith("src/") && !timeOwners.has(file)) faults.push(...findBans(file, text));
}
if (files.length === 0) faults.push("no files were read");

for (const fault of faults) console.error(fault);
console.log(`style: ${files.length} files, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

function findBans(file: string, text: string): string[] {
  return text.split("\n").flatMap((line, index) => {
    const bans = timeBans.filter(({ pattern }) => pattern.test(line));
    return bans.map(({ instead }) => `${file}:${index + 1}: ${instead}`);
  });
}

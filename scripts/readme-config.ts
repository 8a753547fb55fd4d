// Owns the table of settings in README.md, between its two marks: written from src/config.ts, so that it cannot differ from it.

import "../src/runtime/require-node.ts";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeConfig } from "../src/config.ts";

const help = `node scripts/readme-config.ts: writes the table of settings into README.md.
  --check   compare instead, and exit with 1 where they differ`;

const begin = "<!-- settings: written by scripts/readme-config.ts -->";
const end = "<!-- end of settings -->";
const path = fileURLToPath(new URL("../README.md", import.meta.url));
const { values } = parseArgs({ options: { check: { type: "boolean" }, help: { type: "boolean" } } });

if (values.help) console.log(help);
else update();

function update(): void {
  const readme = readFileSync(path, "utf8");
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) return fail(`README.md has no "${begin}" followed by "${end}"`);
  const updated = `${readme.slice(0, from)}${begin}\n${table()}\n${readme.slice(to)}`;
  if (updated === readme) return console.log("readme: the table of settings is up to date");
  if (values.check)
    return fail("readme: the table of settings is not what src/config.ts says: run `node scripts/readme-config.ts`");
  writeFileSync(path, updated);
}

function table(): string {
  const rows = describeConfig().map(
    ({ name, defaultText, description }) => `| \`${name}\` | ${defaultText} | ${description} |`,
  );
  return ["| variable | default | meaning |", "| --- | --- | --- |", ...rows].join("\n");
}

function fail(message: string): void {
  console.error(message);
  process.exitCode = 1;
}

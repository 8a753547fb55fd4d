// Owns the check of `lapse import-crontab` against a Lapse as a process of its own.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type LapseProcess, startLapse } from "../support/process.ts";

const cli = fileURLToPath(new URL("../../scripts/lapse.js", import.meta.url));
const apiKey = "0123456789abcdef";

let database: TestDatabase;
let folder: string;
let lapse: LapseProcess;

beforeAll(async () => {
  database = await createDatabase();
  folder = mkdtempSync(join(tmpdir(), "lapse-crontab-"));
  const env = { DATABASE_URL: database.url, LAPSE_DATA_DIR: folder, LAPSE_ROLE: "api", LAPSE_API_KEY: apiKey };
  lapse = await startLapse({ env });
});

afterAll(async () => {
  await lapse.end();
  await database.drop();
  rmSync(folder, { recursive: true, force: true });
});

interface Shown {
  readonly name: string;
  readonly url: string;
  readonly trigger: object;
  readonly payload: object;
}

function importFile(text: string, ...flags: string[]) {
  const file = join(folder, "crontab");
  writeFileSync(file, text);
  const args = [cli, "import-crontab", file, "--api", lapse.url, "--timezone", "Europe/London", ...flags];
  const env = { PATH: process.env["PATH"] ?? "", LAPSE_API_KEY: apiKey };
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
  return { status, stdout, stderr };
}

async function schedules(): Promise<Shown[]> {
  const response = await fetch(`${lapse.url}/v1/schedules`, { headers: { authorization: `Bearer ${apiKey}` } });
  return ((await response.json()) as { items: Shown[] }).items;
}

const url = "https://jobs.example/run";

test("a crontab becomes schedules, and once more changes them in place; a line that is refused leaves all as it was", async () => {
  const text = "SHELL=/bin/sh\n@daily backup --all\n*/15 8-17 * * mon-fri poll%now\n";
  expect(importFile(`${text}@reboot start\n`, "--url", url)).toMatchObject({ status: 1 });
  // Lapse itself refuses the URL.
  expect(importFile(text, "--url", "ftp://jobs.example/run")).toMatchObject({ status: 1 });
  expect(await schedules()).toEqual([]);

  expect(importFile(text, "--url", url)).toMatchObject({ status: 0, stderr: "" });
  const made = await schedules();
  expect(made.map(({ trigger, payload }) => ({ trigger, payload }))).toEqual([
    {
      trigger: expect.objectContaining({ expression: "@daily", timezone: "Europe/London" }),
      payload: { command: "backup --all", env: { SHELL: "/bin/sh" } },
    },
    {
      trigger: expect.objectContaining({ expression: "*/15 8-17 * * mon-fri" }),
      payload: { command: "poll", stdin: "now", env: { SHELL: "/bin/sh" } },
    },
  ]);

  expect(importFile(text, "--url", `${url}/again`)).toMatchObject({ status: 0 });
  const again = await schedules();
  expect(again.map(({ name }) => name)).toEqual(made.map(({ name }) => name));
  expect(again.map((schedule) => schedule.url)).toEqual([`${url}/again`, `${url}/again`]);
});

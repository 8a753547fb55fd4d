// Owns the checks of `lapse import-crontab` without a Lapse: what it would make, names, all or none, and what is printed.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, importCrontab, type ImportOptions } from "../../src/cli/import-crontab.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lapse-crontab-"));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const plain: ImportOptions = {
  url: "https://jobs.example/run",
  timezone: "UTC",
  namePrefix: "crontab:",
  skip: false,
  dryRun: false,
};

interface Made {
  readonly name: string;
  readonly trigger: object;
}

/** Runs an import; Lapse answers the nth POST with the nth answer, or makes the schedule. */
async function run(text: string, options: Partial<ImportOptions> = {}, answers: readonly Answer[] = []) {
  const file = join(folder, "crontab");
  writeFileSync(file, text);
  const sent: Made[] = [];
  const deleted: string[] = [];
  const [printed, complaints]: [string[], string[]] = [[], []];
  const isDone = await importCrontab(
    file,
    { ...plain, ...options },
    {
      call: async (method, path, body) => {
        if (method === "DELETE") {
          deleted.push(path);
          return { status: 200, body: {} };
        }
        const schedule = body as Made;
        sent.push(schedule);
        return answers[sent.length - 1] ?? { status: 201, body: { id: `id-${sent.length}`, name: schedule.name } };
      },
      now: Date.parse("2026-11-21T12:00:00Z"),
      print: (line) => printed.push(line),
      complain: (line) => complaints.push(line.replace(file, "FILE")),
    },
  );
  return { isDone, sent, deleted, printed, complaints };
}

test("each job becomes a schedule that calls the URL with the command line", async () => {
  const { isDone, sent, printed } = await run(
    "CRON_TZ=Asia/Shanghai\nSHELL=/bin/sh\n30 5 * * mon-fri /usr/bin/report --all%in\n",
    { queue: "jobs" },
  );
  expect(isDone).toBe(true);
  expect(sent).toEqual([
    {
      name: expect.stringMatching(/^crontab:usr-bin-report-all-[0-9a-f]{10}$/),
      url: "https://jobs.example/run",
      queue: "jobs",
      trigger: { type: "cron", expression: "30 5 * * mon-fri", timezone: "Asia/Shanghai" },
      payload: { command: "/usr/bin/report --all", stdin: "in", env: { SHELL: "/bin/sh" } },
      onConflict: "replace",
    },
  ]);
  expect(printed).toEqual([`line 3: ${sent[0]?.name} (30 5 * * mon-fri, Asia/Shanghai) made`]);
});

test("the same line has the same name wherever it stands, and another line another", async () => {
  const first = await run("@daily a\n");
  const second = await run("# moved\n\n@daily a\n@daily a b\n0 0 * * * a\n");
  const names = second.sent.map(({ name }) => name);
  expect(names[0]).toBe(first.sent[0]?.name);
  expect(new Set(names).size).toBe(3);
});

describe("nothing is made", () => {
  test("where one line cannot be kept", async () => {
    const { isDone, sent, complaints } = await run("@daily a\n@reboot b\n0 0 30 2 * c\n@daily a\n");
    expect(isDone).toBe(false);
    expect(sent).toEqual([]);
    expect(complaints).toEqual([
      "FILE:2: @reboot: no time of day can be told from it",
      "FILE:3: 0 0 30 2 *: this never occurs",
      "FILE:4: it is the same as line 1",
      "nothing was imported: remove or change these lines, or pass --skip to import the others",
    ]);
  });

  test("where Lapse refuses one: those made before are deleted, those that stood stay", async () => {
    const refusal = { status: 422, body: { errors: [{ path: "/url", message: "must be an http or https URL" }] } };
    const stood = { status: 200, body: { id: "old", name: "crontab:b" } };
    const made = { status: 201, body: { id: "new", name: "crontab:a" } };
    const { isDone, deleted, complaints } = await run("@daily a\n@daily b\n@daily c\n@daily d\n", {}, [
      made,
      stood,
      refusal,
    ]);
    expect(isDone).toBe(false);
    expect(deleted).toEqual(["/v1/schedules/new"]);
    expect(complaints).toEqual([
      "FILE:3: Lapse answered 422: /url must be an http or https URL",
      "the import was given up: what it made is deleted again, but 1 that stood already are as their lines say. Importing once more is safe",
    ]);
  });

  test("by a dry run, which prints what would be", async () => {
    const { isDone, sent, printed } = await run("@daily a\n@hourly b\n", { dryRun: true });
    expect(isDone).toBe(true);
    expect(sent).toEqual([]);
    expect(printed.map((line) => (JSON.parse(line) as Made).trigger)).toEqual([
      { type: "cron", expression: "@daily", timezone: "UTC" },
      { type: "cron", expression: "@hourly", timezone: "UTC" },
    ]);
  });
});

test("--skip makes what can be kept, and says that it was not all", async () => {
  const { isDone, sent, complaints } = await run("@reboot a\n@daily b\n", { skip: true });
  expect(isDone).toBe(false);
  expect(sent).toHaveLength(1);
  expect(complaints).toEqual(["FILE:1: @reboot: no time of day can be told from it"]);
});

test("a file of 1 MiB is read, and one byte more is not", async () => {
  const text = (bytes: number) => `@daily a\n#${"x".repeat(bytes - 10)}`;
  expect((await run(text(1024 * 1024), { dryRun: true })).isDone).toBe(true);
  await expect(run(text(1024 * 1024 + 1), { dryRun: true })).rejects.toThrow("is larger than 1048576 bytes");
});

test("a time zone that is none is said", async () => {
  await expect(run("@daily a\n", { timezone: "Mars/Olympus" })).rejects.toThrow(
    "--timezone: Mars/Olympus is no IANA time zone",
  );
});

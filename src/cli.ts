// Owns the command line beside the service. It speaks to a running Lapse over HTTP, and to Postgres only to migrate.

import "./runtime/require-node.ts";
import { createReadStream, statSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { type Answer, importCrontab } from "./cli/import-crontab.ts";
import { importTasks } from "./cli/import-tasks.ts";
import { Progress } from "./cli/progress.ts";
import { readConfig } from "./config.ts";
import { monotonicMs } from "./runtime/clock.ts";
import { migrate } from "./store/migrate.ts";

const answerMsMax = 10_000;
/** What is read of a file at a time. */
const readBytes = 256 * 1024;

const program = new Command("lapse").description("Order timeouts and delayed tasks as a service.");
program
  .command("migrate")
  .description("bring the database of DATABASE_URL up to this version's schema; safe to repeat, and while Lapse runs")
  .action(migrateDatabase);
program
  .command("secret")
  .description("show the secret that webhooks are signed with; LAPSE_API_KEY is sent where it is set")
  .option("--url <url>", "where Lapse listens; default: by HOST and PORT")
  .action(showSecrets);
program
  .command("import")
  .description(
    "schedule the tasks of a file, one JSON object a line, as POST /v1/tasks takes it; told by line what was refused",
  )
  .argument("<file>", "NDJSON, of any length; - for the standard input")
  .option("--url <url>", "where Lapse listens; default: by HOST and PORT")
  .option("--api-key <key>", "default: LAPSE_API_KEY, which other users of this machine cannot see")
  .option(
    "--from-line <number>",
    "leave out the lines before this one, to go on where an import stopped",
    readLineNumber,
    1,
  )
  .action(importTaskFile);
program
  .command("import-crontab")
  .description("turn a user's crontab into schedules, all or none; the same file again changes them in place")
  .argument("<file>", "as `crontab -l` writes it")
  .requiredOption("--url <url>", "what the schedules call, with { command, stdin, env } as payload")
  .option("--timezone <zone>", "where the file sets no CRON_TZ; default: this machine's")
  .option("--queue <name>", "of the schedules' tasks")
  .option("--name-prefix <text>", "what the schedules' names begin with", "crontab:")
  .option("--api <url>", "where Lapse listens; default: by HOST and PORT. LAPSE_API_KEY is sent where it is set")
  .option("--skip", "import what can be kept, though some lines cannot", false)
  .option("--dry-run", "print the schedules, a JSON object a line, and make none", false)
  .action(importFile);

try {
  await program.parseAsync();
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}

async function migrateDatabase(): Promise<void> {
  const { databaseUrl } = settings();
  if (databaseUrl === null)
    return fail("DATABASE_URL: expected the database to migrate, got none (an embedded one is migrated at start)");
  await migrate(databaseUrl);
  console.log("lapse: the database has this version's schema");
}

async function showSecrets(options: { url?: string }): Promise<void> {
  const { status, body } = await callLapse({ base: options.url, flag: "--url" }, "GET", {
    path: "/v1/signing-secrets",
  });
  const secrets = typeof body === "object" && body !== null && "secrets" in body ? body.secrets : null;
  if (status !== 200 || !Array.isArray(secrets)) {
    return fail(`Lapse answered ${status}${status === 401 ? ": set LAPSE_API_KEY" : ""}`);
  }
  for (const secret of secrets) console.log(String(secret));
}

interface TaskImportFlags {
  readonly url?: string;
  readonly apiKey?: string;
  readonly fromLine: number;
}

async function importTaskFile(file: string, { url, apiKey, fromLine }: TaskImportFlags): Promise<void> {
  const isInput = file === "-";
  const bytes = isInput ? null : statSync(file).size;
  const input = isInput ? process.stdin : createReadStream(file, { highWaterMark: readBytes });
  const write = (text: string) => void process.stderr.write(text);
  const progress = new Progress({ write, isTerminal: process.stderr.isTTY, nowMs: monotonicMs });
  const options = { file, base: baseOf(url), apiKey: apiKey ?? settings().apiKey, fromLine };
  const isDone = await importTasks(options, {
    input,
    bytes,
    progress,
    print: (line) => console.log(line),
    complain: (line) => console.error(line),
  });
  if (!isDone) process.exitCode = 1;
}

function readLineNumber(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a line number, from 1");
}

interface ImportFlags {
  readonly url: string;
  readonly timezone?: string;
  readonly queue?: string;
  readonly namePrefix: string;
  readonly api?: string;
  readonly skip: boolean;
  readonly dryRun: boolean;
}

async function importFile(file: string, { api, timezone, ...flags }: ImportFlags): Promise<void> {
  const options = { ...flags, timezone: timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone };
  const isDone = await importCrontab(file, options, {
    call: (method, path, body) => callLapse({ base: api, flag: "--api" }, method, { path, sent: body }),
    now: Date.now(),
    print: (line) => console.log(line),
    complain: (line) => console.error(line),
  });
  if (!isDone) process.exitCode = 1;
}

interface Where {
  /** Undefined: by HOST and PORT. */
  readonly base: string | undefined;
  /** The option that names it, for the complaint. */
  readonly flag: string;
}

interface Asked {
  readonly path: string;
  readonly sent?: object | undefined;
}

/** Throws where no Lapse answers. */
async function callLapse(where: Where, method: string, { path, sent }: Asked): Promise<Answer> {
  const { apiKey } = settings();
  const base = baseOf(where.base);
  const headers: Record<string, string> = sent === undefined ? {} : { "content-type": "application/json" };
  if (apiKey !== null) headers["authorization"] = `Bearer ${apiKey}`;
  const body = sent === undefined ? {} : { body: JSON.stringify(sent) };
  const signal = AbortSignal.timeout(answerMsMax);
  const response = await fetch(new URL(path, base), { method, headers, signal, ...body }).catch(() => null);
  if (response === null)
    throw new Error(`no Lapse answers at ${base}: start it, or name its address with ${where.flag}`);
  return { status: response.status, body: await response.json().catch(() => null) };
}

function baseOf(given: string | undefined): string {
  if (given !== undefined) return given;
  const { host, port } = settings();
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function settings() {
  const result = readConfig(process.env);
  if ("config" in result) return result.config;
  for (const fault of result.faults) console.error(fault);
  process.exit(2);
}

function fail(message: string): void {
  console.error(`lapse: ${message}`);
  process.exitCode = 1;
}

// Owns the command line beside the service. It speaks to a running Lapse over HTTP, and to Postgres only to migrate.

import "./runtime/require-node.ts";
import { Command } from "commander";
import { type Answer, importCrontab } from "./cli/import-crontab.ts";
import { readConfig } from "./config.ts";
import { migrate } from "./store/migrate.ts";

const answerMsMax = 10_000;

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
  const { host, port, apiKey } = settings();
  const base = where.base ?? `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const headers: Record<string, string> = sent === undefined ? {} : { "content-type": "application/json" };
  if (apiKey !== null) headers["authorization"] = `Bearer ${apiKey}`;
  const body = sent === undefined ? {} : { body: JSON.stringify(sent) };
  const signal = AbortSignal.timeout(answerMsMax);
  const response = await fetch(new URL(path, base), { method, headers, signal, ...body }).catch(() => null);
  if (response === null)
    throw new Error(`no Lapse answers at ${base}: start it, or name its address with ${where.flag}`);
  return { status: response.status, body: await response.json().catch(() => null) };
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

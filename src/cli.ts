// Owns the command line beside the service. It speaks to a running Lapse over HTTP, and to Postgres only to migrate.

import "./runtime/require-node.ts";
import { Command } from "commander";
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
  const { host, port, apiKey } = settings();
  const base = options.url ?? `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
  const response = await fetch(new URL("/v1/signing-secrets", base), {
    headers,
    signal: AbortSignal.timeout(answerMsMax),
  }).catch(() => null);
  if (response === null) return fail(`no Lapse answers at ${base}: start it, or name its address with --url`);
  const body: unknown = await response.json();
  const secrets = typeof body === "object" && body !== null && "secrets" in body ? body.secrets : null;
  if (!response.ok || !Array.isArray(secrets)) {
    return fail(`Lapse at ${base} answered ${response.status}${response.status === 401 ? ": set LAPSE_API_KEY" : ""}`);
  }
  for (const secret of secrets) console.log(String(secret));
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

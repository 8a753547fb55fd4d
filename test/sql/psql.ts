// Owns running a script as psql does. Where no psql is on the PATH, the script is sent as psql sends it: as one text, by the simple query
// protocol, whose statements share no parameters.

import { spawn, spawnSync } from "node:child_process";
import pg from "pg";

const hasPsql = spawnSync("psql", ["--version"], { stdio: "ignore" }).status === 0;

/** What stands in for psql, for the tests' names. */
export const psqlName = hasPsql ? "psql" : "the simple query protocol (no psql on the PATH)";

export interface PsqlRun {
  readonly isOk: boolean;
  /** The first column of each row. */
  readonly values: readonly string[];
  /** What it said on standard error. */
  readonly errors: string;
}

/** Runs a script, up to its first error. */
export function runPsql(url: string, script: string): Promise<PsqlRun> {
  return hasPsql ? throughPsql(url, script) : throughProtocol(url, script);
}

async function throughPsql(url: string, script: string): Promise<PsqlRun> {
  const child = spawn("psql", [url, "-XAtq", "-v", "ON_ERROR_STOP=1"], { stdio: ["pipe", "pipe", "pipe"] });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.on("error", reject).on("close", resolve);
  let [printed, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  child.stdin.end(script);
  const code = await promise;
  const lines = printed.split("\n").filter((line) => line !== "");
  return { isOk: code === 0, values: lines.map((line) => line.split("|")[0] ?? ""), errors };
}

async function throughProtocol(url: string, script: string): Promise<PsqlRun> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const results: pg.QueryArrayResult | pg.QueryArrayResult[] = await client.query({ text: script, rowMode: "array" });
    const rows = (Array.isArray(results) ? results : [results]).flatMap((result) => result.rows);
    return { isOk: true, values: rows.map(([value]) => String(value)), errors: "" };
  } catch (error) {
    return { isOk: false, values: [], errors: (error as Error).message };
  } finally {
    await client.end();
  }
}

// Owns reading plans: what a statement of the source does to the tables, by EXPLAIN ANALYZE of that very text with the values it is sent with.

import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { bind, type Connection, type Database, type Statement } from "../../src/store/database.ts";
import type { Tables } from "../../src/store/tables.ts";
import type { TestStore } from "./store.ts";

/** Postgres weighs a plan for all values against those for the first five. */
const sendsUntilDecided = 8;

/** What a session said of itself when it connected. */
const readSettings = {
  name: "read_settings",
  text: `select name, setting from pg_settings
    where source = 'client' and name not in ('application_name', 'client_encoding', 'statement_timeout')`,
};

/** A node of EXPLAIN's JSON, as far as it is read here. */
interface Node {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Index Recheck"?: number;
  readonly "Shared Hit Blocks"?: number;
  readonly "Shared Read Blocks"?: number;
  readonly Plans?: readonly Node[];
}

/** What one run of a statement did. */
export interface Reading {
  /** Rows of lapse.tasks and lapse.attempts that were looked at, each as often as it was. */
  readonly taskRows: number;
  readonly attemptRows: number;
  /** Pages touched, of tables and indexes. */
  readonly pages: number;
  /** Rows that each sort took in. */
  readonly sorted: readonly number[];
  /** Tables read from end to end. */
  readonly scanned: readonly string[];
  readonly text: string;
}

/** A statement of the source, and the values it is sent with. Without a name it is planned for its values each time. */
export interface Recorded {
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** `generic`: the plan of a statement prepared under its name, once Postgres keeps one for all values. */
export type PlanMode = "custom" | "generic";

export class Explainer {
  readonly #pool: pg.Pool;
  readonly #client: pg.Client;

  private constructor(pool: pg.Pool, client: pg.Client) {
    this.#pool = pool;
    this.#client = client;
  }

  /** Plans as the store's hot connections do, whose settings it takes over: of those that keep their plans, where it is said. */
  static async open(
    { url, database }: Pick<TestStore, "url" | "database">,
    plans: Pick<Statement, "keepsPlan"> = {},
  ): Promise<Explainer> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const settings = await database.run(bind({ ...readSettings, ...plans }, []));
    for (const { name, setting } of settings) await client.query("select set_config($1, $2, false)", [name, setting]);
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    // The drop of the database ends them, though they are being closed by then.
    client.on("error", () => undefined);
    pool.on("error", () => undefined).on("connect", (pooled) => pooled.on("error", () => undefined));
    return new Explainer(pool, client);
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.end(), this.#client.end()]);
  }

  /** Runs a function of the store on a stand-in for its database and tells what it sent. Nothing that it writes stays. */
  async record(work: (database: Database) => Promise<unknown>): Promise<Recorded[]> {
    const sent: Recorded[] = [];
    const kysely = new Kysely<Tables>({
      dialect: new PostgresDialect({ pool: this.#pool }),
      log: ({ query: { sql: text, parameters: values } }) => {
        if (!/^(begin|commit|rollback)\b/.test(text)) sent.push({ name: "", text, values });
      },
    });
    const rolledBack = async (within: (connection: Connection) => Promise<unknown>): Promise<unknown> => {
      const found: unknown[] = [];
      const rolling = kysely.transaction().execute(async (trx) => {
        found.push(await within(trx));
        throw new RolledBack();
      });
      await rolling.catch((error: unknown) => {
        if (!(error instanceof RolledBack)) throw error;
      });
      return found[0];
    };
    const stand = {
      kysely,
      run: async (statement: Recorded) => {
        sent.push(statement);
        // An accept says which it stored, or none left out.
        return statement.name.startsWith("accept_") ? [{ ids: null }] : [];
      },
      runTogether: async (statements: readonly Recorded[]) => {
        sent.push(...statements);
        return [];
      },
      query: rolledBack,
      transaction: rolledBack,
    };
    await work(stand as unknown as Database);
    return sent;
  }

  /** Runs statements in one transaction, as they would follow one another, rolls it back, and tells what each did. */
  async explain(statements: readonly Recorded[], mode: PlanMode): Promise<Reading[]> {
    const client = this.#client;
    await client.query(`begin; set local plan_cache_mode = force_${mode}_plan`);
    try {
      const readings: Reading[] = [];
      for (const { text, values } of statements) {
        await client.query(`prepare shown as ${text}`);
        readings.push(await this.#explainPrepared("shown", values));
        await client.query("deallocate shown");
      }
      return readings;
    } finally {
      await client.query("rollback; deallocate all");
    }
  }

  /** Prepares a statement as the pool does, and sends it so often that Postgres decides on a plan for all values. Nothing stays. */
  async warm({ name, text, values }: Recorded): Promise<void> {
    for (let sent = 0; sent < sendsUntilDecided; sent += 1) {
      await this.#client.query("begin");
      await this.#client.query({ name, text, values: [...values] });
      await this.#client.query("rollback");
    }
  }

  /** What a statement that was warmed does now. */
  async explainWarm({ name, values }: Recorded): Promise<Reading> {
    await this.#client.query("begin");
    try {
      return await this.#explainPrepared(name, values);
    } finally {
      await this.#client.query("rollback");
    }
  }

  async #explainPrepared(name: string, values: readonly unknown[]): Promise<Reading> {
    const list = values.length === 0 ? "" : `(${values.map(literal).join(", ")})`;
    const { rows } = await this.#client.query<{ "QUERY PLAN": readonly [{ Plan: Node }] }>(
      `explain (analyze, buffers, format json) execute ${name}${list}`,
    );
    const plan = rows[0]?.["QUERY PLAN"][0].Plan;
    if (plan === undefined) throw new Error("EXPLAIN gave no plan");
    return readingOf(plan);
  }
}

class RolledBack extends Error {}

function readingOf(plan: Node): Reading {
  const nodes = [...walk(plan)];
  const rowsOf = (table: string): number =>
    nodes
      .filter((node) => node["Relation Name"] === table && node["Node Type"].endsWith(" Scan"))
      .reduce((sum, node) => sum + rowsRead(node), 0);
  return {
    taskRows: rowsOf("tasks"),
    attemptRows: rowsOf("attempts"),
    pages: (plan["Shared Hit Blocks"] ?? 0) + (plan["Shared Read Blocks"] ?? 0),
    sorted: nodes.filter((node) => node["Node Type"].endsWith("Sort")).map(rowsTakenIn),
    scanned: nodes.flatMap((node) =>
      node["Node Type"] === "Seq Scan" && node["Relation Name"] !== undefined ? [node["Relation Name"]] : [],
    ),
    text: describe(plan, 0),
  };
}

function* walk(node: Node): Generator<Node> {
  yield node;
  for (const child of node.Plans ?? []) yield* walk(child);
}

function rowsRead(node: Node): number {
  const removed = (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0);
  return Math.round((node["Actual Rows"] + removed) * node["Actual Loops"]);
}

function rowsTakenIn(node: Node): number {
  return (node.Plans ?? []).reduce((sum, child) => sum + Math.round(child["Actual Rows"] * child["Actual Loops"]), 0);
}

/** The plan, a line a node, for a failure's message. */
function describe(node: Node, depth: number): string {
  const names = [node["Node Type"], node["Index Name"], node["Relation Name"]].filter(Boolean).join(" ");
  const line = `${"  ".repeat(depth)}${names} rows=${node["Actual Rows"]} loops=${node["Actual Loops"]} removed=${
    node["Rows Removed by Filter"] ?? 0
  }`;
  return [line, ...(node.Plans ?? []).map((child) => describe(child, depth + 1))].join("\n");
}

/** A value as EXECUTE takes it: a text of unknown type, which Postgres reads as the parameter's. */
function literal(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return `'${(Array.isArray(value) ? arrayText(value) : textOf(value)).replaceAll("'", "''")}'`;
}

function arrayText(values: readonly unknown[]): string {
  const texts = values.map((value) =>
    value === null ? "NULL" : `"${textOf(value).replaceAll(/["\\]/g, (character) => `\\${character}`)}"`,
  );
  return `{${texts.join(",")}}`;
}

/** Of a parameter: a text, a number or a truth value. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new Error(`no parameter of the store is a ${typeof value}`);
}

// Owns calling Lapse from SQL in tests: the functions by named parameters, as a login role that may call them and nothing else.

import { randomBytes } from "node:crypto";
import pg from "pg";
import { urlOf } from "../support/database.ts";

/** A parameter with the type that it is sent as. */
export type Parameter = readonly [value: unknown, type: string];
export type Parameters = Readonly<Record<string, Parameter | undefined>>;

export interface SqlClient {
  /** The URL of its role, for programs of their own. */
  readonly url: string;
  readonly client: pg.Client;
  /** lapse.schedule_task; resolves to the id. */
  schedule(parameters: Parameters): Promise<string>;
  /** lapse.cancel_task; resolves to what it returned. */
  cancel(parameters: Parameters): Promise<string>;
  query<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  end(): Promise<void>;
}

/** Makes a login role that was granted `roles`; resolves to its URL. Roles outlive the database: their names are drawn. */
export async function createRole(databaseUrl: string, roles: readonly string[]): Promise<string> {
  const name = `shop_${randomBytes(6).toString("hex")}`;
  const password = randomBytes(8).toString("hex");
  const admin = await connect(databaseUrl);
  await admin.query(`create role ${name} login password '${password}'`);
  for (const role of roles) await admin.query(`grant ${role} to ${name}`);
  await admin.end();
  const url = new URL(urlOf(databaseUrl, new URL(databaseUrl).pathname.slice(1)));
  url.username = name;
  url.password = password;
  return url.href;
}

/** A session that calls the functions, of the URL's role. */
export async function openSql(url: string): Promise<SqlClient> {
  const client = await connect(url);
  const call = async (name: string, parameters: Parameters): Promise<string> => {
    const given = Object.entries(parameters).flatMap(([key, parameter]) =>
      parameter === undefined ? [] : [[key, ...parameter] as const],
    );
    const list = given.map(([key, , type], i) => `${key} => $${i + 1}::${type}`).join(", ");
    const called = await client.query<{ result: string }>(
      `select lapse.${name}(${list}) as result`,
      given.map(([, value]) => value),
    );
    return called.rows[0]?.result ?? "";
  };
  return {
    url,
    client,
    schedule: (parameters) => call("schedule_task", parameters),
    cancel: (parameters) => call("cancel_task", parameters),
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await client.query<Row>(text, [...values])).rows,
    end: () => client.end(),
  };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined); // The drop of its database ends it.
  await client.connect();
  return client;
}

// Owns the values that the first process makes and all share.

import { sql } from "kysely";
import type { Database } from "./database.ts";

export type SettingName = "installation" | "signing_secret" | "confirm_key";

/** The setting's value; the first caller of all processes stores the one it made. */
export async function readSetting(database: Database, name: SettingName, make: () => string): Promise<string> {
  return database.query(async (connection) => {
    await sql`insert into lapse.settings (name, value) values (${name}, ${make()}) on conflict do nothing`.execute(
      connection,
    );
    const row = await connection
      .selectFrom("lapse.settings")
      .select("value")
      .where("name", "=", name)
      .executeTakeFirstOrThrow();
    return row.value;
  });
}

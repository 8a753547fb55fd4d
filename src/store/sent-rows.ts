// Owns how many rows go to Postgres as the parameters of one statement: an array a column, and one value where all rows have the same.

/** What one row has in a column. */
type Value = string | number | boolean | null;

/** A column beside the rows' ids: its name, its type as it is sent, and what a row has there. `read` makes of what was sent what it stands for. */
export interface Column<Row, Context = void> {
  readonly name: string;
  readonly type: string;
  readonly read?: (sent: string) => string;
  readonly of: (row: Row, context: Context) => Value;
}

/** An instant goes as the number of its ms: Postgres reads one in a sixth of the time of its text. */
export const instantType = { type: "float8", read: (sent: string) => `to_timestamp(${sent} / 1000)` };

export class SentRows<Row, Context = void> {
  /** The columns' names, without the id's. */
  readonly names: string;
  /** A select of all of them, `id` first. */
  readonly text: string;
  readonly #columns: readonly Column<Row, Context>[];

  constructor(columns: readonly Column<Row, Context>[]) {
    this.#columns = columns;
    this.names = columns.map(({ name }) => name).join(", ");
    const arrays = columns.map(({ type }, i) => `$${2 + i}::${type}[]`).join(", ");
    const selected = columns.map(({ name, type, read }, i) => {
      const value = `coalesce(${name}, $${2 + columns.length + i}::${type})`;
      return `${read?.(value) ?? value} as ${name}`;
    });
    this.text = `select id, ${selected.join(", ")} from unnest($1::uuid[], ${arrays}) as sent (id, ${this.names})`;
  }

  /** The place of the statement's own parameter number `n`, counted from 0: they follow those of the rows. */
  static place(columns: readonly unknown[], n: number): string {
    return `$${2 + 2 * columns.length + n}`;
  }

  /** The ids, then each column's values, then each column's value that is all rows' own. */
  values(ids: readonly string[], rows: readonly Row[], context: Context): Value[] {
    const sent = this.#columns.map(({ of }) => columnValues(rows.map((row) => of(row, context))));
    return [arrayText(ids), ...sent.map(({ each }) => each), ...sent.map(({ common }) => common)];
  }
}

/**
 * One value where all rows have the same, else each its own. Most columns are the same in all of a batch, and to write, send and read them
 * for each task took Postgres 3 of 18 µs of an accept, and as much here.
 */
function columnValues(values: readonly Value[]): { readonly each: string; readonly common: Value } {
  const [first = null] = values;
  if (values.every((value) => value === first)) return { each: "{}", common: first };
  return { each: arrayText(values), common: null };
}

/** An array as Postgres reads it (its manual, section 8.15.2). Like pg's own, without asking each element what it is. */
function arrayText(values: readonly Value[]): string {
  return `{${values.map((value) => (typeof value === "string" ? quoted(value) : (value ?? "NULL"))).join(",")}}`;
}

function quoted(text: string): string {
  return `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, "\\$&") : text}"`;
}

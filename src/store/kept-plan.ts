// Owns how statements over tasks are written so that their plan may be kept: whatever the tables hold when it is made, the primary key alone
// can serve them. A plan that was made on an empty table would else go through any index from end to end, and go on so as tasks pour in.
// Rows are met one by one, `from unnest(…) cross join lateral (… where id = …)`: no plan can turn that round. Every index of tasks that
// has the id in a later place is partial, by a condition that such a look-up does not imply (sql/0008_list_index.sql).

/** A condition that the planner cannot look into, so that it chooses no index by it. */
export function unseen(condition: string): string {
  return `case when ${condition} then true end`;
}

/**
 * `id` is that of `row`, one of `rows`, a CTE's few. Said twice: the first joins by a hash (connections that keep plans have no other way),
 * the second lets no plan read more of the table than those rows.
 */
export function isAmong(id: string, row: string, rows: string = row): string {
  return `${id} = ${row}.id and ${id} = any(array(select id from ${rows}))`;
}

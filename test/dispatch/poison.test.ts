// Owns the facts about poison: rows that SQL has damaged. Each ends with an outcome that says why, and holds up nobody.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, expect, test } from "vitest";
import { declareDead, takeOver } from "../../src/store/owners.ts";
import { inTransaction, rowsOf } from "../fault/held.ts";
import { openStore } from "../store/store.ts";
import { execute } from "../support/database.ts";
import { type Flow, promptRetry, startFlow, until, unique } from "../support/flow.ts";

const latenessMsMax = 2_000;
const dueText = `update lapse.tasks set due_at = now() + interval '500 ms', next_attempt_at = now() + interval '500 ms' where id = any($1)`;
const [greatestInteger, greatestBigint] = [2_147_483_647, "9223372036854775807"];

/** What is set in the row, and what its attempt then says. */
const damages: readonly (readonly [set: string, error: RegExp])[] = [
  ["headers = 'null'", /headers/],
  ["headers = '[]'", /headers/],
  [`headers = '"x-a: b"'`, /headers/],
  ["headers = '7'", /headers/],
  [`headers = '{"x-a": 7}'`, /header "x-a"/],
  [`headers = '{"x-a": "b\\r\\nx-b: c"}'`, /header "x-a"/],
  [`headers = '{"host": "other.example"}'`, /header "host"/],
  ["retry = 'null'", /retry/],
  ["retry = '{}'", /retry/],
  ["retry = '[10]'", /retry/],
  [`retry = retry || '{"maxAttempts": "many"}'`, /retry/],
  [`retry = retry || '{"maxAttempts": 1.5}'`, /retry/],
  [`retry = retry || '{"minDelayMs": -1}'`, /retry/],
  [`retry = retry || '{"maxDelayMs": 1e300}'`, /retry/],
  [`retry = retry || '{"backoff": "none"}'`, /retry/],
  ["url = ''", /URL/],
  ["url = 'nonsense'", /URL/],
  ["url = 'ftp://shop.example/'", /URL/],
  ["url = url || repeat('x', 3000)", /URL/],
  ["payload = ''", /payload/],
  ["payload = '{\"a\":'", /payload/],
  ["payload = '1}, {\"injected\": true'", /payload/],
  ["method = 'TRACE'", /method/],
  ["method = E'GET / HTTP/1.1\\r\\nx: y'", /method/],
  ["payload = null, body = 'x', content_type = E'a\\r\\nb: c'", /contentType/],
  ["timeout_ms = 0", /timeout/],
  ["timeout_ms = -5", /timeout/],
  [`timeout_ms = ${greatestInteger}`, /timeout/],
  [`attempts = ${greatestInteger}`, /claimed/],
  [`version = ${greatestInteger}`, /claimed/],
];
/** Odd, but a call can be made of it. */
const odd = [
  "due_at = '-infinity'",
  "next_attempt_at = '-infinity'",
  "due_at = '0044-03-15 BC'",
  `misfire_grace_ms = ${greatestBigint}`,
  "labels = '[1]'",
  "traceparent = E'a\\r\\nb: c'",
  "request_hash = ''",
];

let flow: Flow;
beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

interface Ended {
  readonly set: string;
  readonly state: string;
  readonly attempts: number;
  readonly outcome: string | null;
  readonly error: string | null;
  readonly latenessMs: number;
}

/** Tasks of one queue, all due at the same time, each with its damage set; resolves to how they ended. */
async function fire(queue: string, sets: readonly string[]): Promise<Ended[]> {
  const { api, service } = flow;
  const hooks = sets.map(() => flow.hook());
  const tasks = hooks.map(({ url }) => ({ url, queue, delay: "1h", payload: { a: 1 }, retry: promptRetry }));
  const { items } = (await api.post("/v1/tasks/batch", { tasks })).as<{ items: { task: { id: string } }[] }>();
  const ids = items.map(({ task }) => task.id);
  await inTransaction(service.databaseUrl, async (query) => {
    await query(dueText, [ids]);
    for (const [i, set] of sets.entries()) await query(`update lapse.tasks set ${set} where id = $1`, [ids[i]]);
  });
  const read = async (): Promise<Omit<Ended, "set">[]> =>
    rowsOf<Omit<Ended, "set">>(
      service.databaseUrl,
      `select t.state, (select count(*)::int from lapse.attempts where task_id = t.id) as attempts, a.outcome, a.error,
         coalesce(a.lateness_ms, 0)::int8::float8 as "latenessMs"
       from unnest($1::uuid[]) with ordinality as given (id, place) join lapse.tasks t using (id)
       left join lapse.attempts a on a.task_id = t.id and a.number = t.attempts order by place`,
      [ids],
    );
  const ended = await until(read, (rows) => rows.every(({ state }) => state !== "scheduled" && state !== "running"));
  return ended.map((row, i) => ({ set: sets[i] ?? "", ...row }));
}

test("a damaged task ends failed with one attempt that says why, beside healthy ones that fire on time", async () => {
  const queue = unique("poison");
  const asked = flow.receiver.requests.length;
  const sets = damages.flatMap(([set]) => [set, "url = url"]);
  const ended = await fire(queue, sets);
  const [damaged, healthy] = [ended.filter((_, i) => i % 2 === 0), ended.filter((_, i) => i % 2 === 1)];
  for (const [i, [set, error]] of damages.entries())
    expect(damaged[i]).toMatchObject({
      set,
      state: "failed",
      attempts: 1,
      outcome: "blocked",
      error: expect.stringMatching(error),
    });
  for (const task of healthy) expect(task).toMatchObject({ state: "succeeded", attempts: 1 });
  expect(Math.max(...healthy.map((task) => task.latenessMs))).toBeLessThan(latenessMsMax);
  expect(flow.receiver.requests.length - asked).toBe(healthy.length);
});

test("an odd value of which a call can be made holds nobody up, its own task included", async () => {
  for (const task of await fire(unique("odd"), odd)) expect(task).toMatchObject({ state: "succeeded", attempts: 1 });
});

test("a listing shows damaged tasks among the others, and its JSON stays whole", async () => {
  const queue = unique("listed");
  const sets = [...damages.map(([set]) => set), ...odd];
  await fire(queue, sets);
  const answer = await fetch(`${flow.service.url}/v1/tasks?queue=${queue}&limit=500`);
  expect(answer.status).toBe(200);
  const { items } = (await answer.json()) as { items: Record<string, unknown>[] };
  expect(items).toHaveLength(sets.length);
  expect(items.filter((item) => "injected" in item)).toEqual([]);
  expect(items.map((item) => item["body"])).toContain('1}, {"injected": true');
});

test("an answer that Postgres refuses is left out of its attempt, and neighbours settle beside it", async () => {
  const { databaseUrl } = flow.service;
  // Stands for whatever a server may refuse: a constraint of the user's own.
  await execute(
    databaseUrl,
    "alter table lapse.attempts add constraint own check (response_snippet not like 'refuse%') not valid",
  );
  const queue = unique("refused");
  const bodies = ["fine", "refuse this", "fine", "refuse that", "fine"];
  const tasks = await Promise.all(
    bodies.map((body) => flow.create({ url: flow.hook({ body }).url, queue, delay: "200ms" })),
  );
  const ended = await Promise.all(tasks.map(({ id }) => flow.reaches(id, "succeeded")));
  expect(ended.map(({ lastAttempt }) => lastAttempt?.responseSnippet)).toEqual(["fine", null, "fine", null, "fine"]);
  for (const { lastAttempt } of ended)
    if (lastAttempt?.responseSnippet === null) expect(lastAttempt.error).toMatch(/could not be stored/);
  await execute(databaseUrl, "alter table lapse.attempts drop constraint own");
});

test("nothing is left in flight, and no outcome is tried in a circle", async () => {
  const text = await (await fetch(`${flow.service.url}/metrics`)).text();
  expect(text).not.toMatch(/event="settle.retried"/);
  const inFlight = async () =>
    /^lapse_attempts_in_flight (\d+)/m.exec(await (await fetch(`${flow.service.url}/metrics`)).text())?.[1];
  await until(inFlight, (count) => count === "0");
});

test("a dead dispatcher's damaged tasks are taken over with its others", async () => {
  const store = await openStore();
  const [dead, taker, queue] = [await store.dispatcher("dead"), await store.dispatcher(), uuidv7()];
  const policies = ["null", "{}", '{"maxAttempts": "many"}', '{"maxAttempts": 1e99}', '{"maxAttempts": [2]}'];
  const running = { queue, state: "running", owner: dead, attempts: 1 } as const;
  const damaged = await Promise.all(policies.map((retry) => store.insert({ ...running, retry })));
  const healthy = await store.insert(running);
  await store.share(queue, dead, policies.length + 1);
  await store.database.query((connection) => declareDead(connection, taker));
  const { claimed } = await takeOver(store.database, dead, taker);
  expect(claimed.map((task) => task.id)).toContain(healthy);
  for (const id of damaged) expect(await store.attempts(id)).toMatchObject([{ number: 1, outcome: "lost" }]);
  await store.close();
});

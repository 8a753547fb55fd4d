// Goal: whatever breaks in the midst of an import, it never claims more than is stored, says where to go on, and going on stores the rest once.
// Method: Postgres cut off behind a proxy, the process drained and killed, while lines with keys pour in; the rows compared with what was
// told. And a body far larger than the process's memory.

import { readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Client } from "pg";
import { expect, onTestFinished, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { importAll, type ImportLine, openImport } from "../support/import-client.ts";
import { type LapseProcess, startLapse } from "../support/process.ts";
import { startTestService } from "../support/service.ts";
import { sized } from "../support/size.ts";
import { startProxy } from "./proxy.ts";
import { makeWorld, testMsMax } from "./world.ts";

const timeout = testMsMax;
const lineOf = (i: number, more: object = {}): string =>
  `${JSON.stringify({ url: "http://127.0.0.1:9/hook", delay: "1d", key: `order-${i}`, ...more })}\n`;
const linesOf = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => lineOf(from + i)).join("");
const piece = 1_000;

interface Endless {
  /** Resolves to the answer's last line; null where it was cut off. */
  readonly last: Promise<ImportLine | null>;
  /** Resolves once so many lines are told of. */
  readonly told: (count: number) => Promise<ImportLine>;
}

/** Imports lines with keys from line 1 on, until the answer ends. */
function importEndlessly(url: string): Endless {
  const call = openImport(url);
  const over = new AbortController();
  const ended = call.ended.then(
    (told) => told.at(-1) ?? null,
    () => null,
  );
  void ended.finally(() => {
    over.abort();
    call.destroy();
  });
  void (async () => {
    for (let from = 0; !over.signal.aborted; from += piece) {
      await call.send(linesOf(from, from + piece));
      // Where all that is sent is taken at once, nothing would be read any more.
      await nextTurn();
    }
  })();
  return { last: ended, told: (count) => call.next(({ accepted = 0 }) => accepted >= count) };
}

/** Keys in a database, each as often as there is a task of it. */
async function keysIn(databaseUrl: string): Promise<Map<number, number>> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const found = await client.query<{ i: number; count: number }>(
    "select substr(key, 7)::int as i, count(*)::int as count from lapse.tasks where key like 'order-%' group by 1",
  );
  await client.end();
  return new Map(found.rows.map(({ i, count }) => [i, count]));
}

/** All of the first `count` are there, once, and nothing else. */
function expectEachOnce(keys: ReadonlyMap<number, number>, count: number): void {
  expect([keys.size, [...keys].filter(([i, times]) => i >= count || times !== 1)]).toEqual([count, []]);
}

/** A service whose way to Postgres leads through a proxy. */
async function startBehindProxy() {
  const database = await createDatabase();
  const direct = new URL(database.url);
  const proxy = await startProxy(Number(direct.port), "postgres");
  const behind = new URL(database.url);
  behind.port = String(proxy.port);
  const service = await startTestService({ databaseUrl: behind.href, redis: "away" });
  onTestFinished(async () => {
    await service.stop();
    await proxy.close();
    await database.drop();
  });
  return { service, proxy, databaseUrl: database.url };
}

test.each(sized<readonly ("refused" | "half-open")[]>({ usual: ["refused"], long: ["refused", "half-open"] }))(
  "an import whose Postgres is %s says from which line on to go on, and going on stores each task once",
  { timeout },
  async (kind) => {
    const { service, proxy, databaseUrl } = await startBehindProxy();
    const { last, told } = importEndlessly(service.url);
    await told(2 * piece);
    proxy.set({ kind });
    const end = await last;
    expect(end).toMatchObject({ done: false, refused: 0, problem: { type: "urn:lapse:problem:store-unavailable" } });
    const { accepted = 0, line = 0 } = end ?? {};
    expect(line).toBe(accepted + 1);
    const keys = await keysIn(databaseUrl);
    expect(Array.from({ length: accepted }, (_, i) => i).filter((i) => !keys.has(i))).toEqual([]);

    proxy.set({ kind: "none" });
    const all = accepted + 5 * piece;
    await expect.poll(async () => (await fetch(`${service.url}/readyz`)).status, { timeout: 20_000 }).toBe(200);
    const again = await importAll(service.url, linesOf(line - 1, all));
    expect(again.at(-1)).toEqual({ accepted: 5 * piece, refused: 0, done: true });
    expectEachOnce(await keysIn(databaseUrl), all);
  },
);

test("an import whose commits lose their answers is told of as if none had, and stores each task once", {
  timeout,
}, async () => {
  const { service, proxy, databaseUrl } = await startBehindProxy();
  proxy.set({ kind: "cut-after-commit", every: 7 });
  const count = 6 * piece;
  expect((await importAll(service.url, linesOf(0, count))).at(-1)).toEqual({ accepted: count, refused: 0, done: true });
  expect(proxy.cutCount).toBeGreaterThan(0);
  proxy.set({ kind: "none" });
  expectEachOnce(await keysIn(databaseUrl), count);
});

test("an import that a drain ends says where, and has stored just what it told", { timeout }, async () => {
  const { start, databaseUrl } = await makeWorld();
  const draining = await start("api");
  const { last, told } = importEndlessly(draining.url);
  await told(2 * piece);
  draining.kill("SIGTERM");
  const end = await last;
  const { accepted = 0 } = end ?? {};
  expect(end).toMatchObject({ done: false, line: accepted + 1, problem: { type: "urn:lapse:problem:stopping" } });
  expect(await draining.exited).toEqual({ code: 0, signal: null });
  expectEachOnce(await keysIn(databaseUrl), accepted);
});

test("an import that a drain finds in the midst of a flush has it stored and told", { timeout }, async () => {
  const { start, databaseUrl } = await makeWorld();
  const draining = await start("api");
  const stranger = new Client({ connectionString: databaseUrl });
  await stranger.connect();
  onTestFinished(() => stranger.end());
  await stranger.query("begin");
  const held = piece + piece / 2;
  await stranger.query(
    `insert into lapse.tasks (id, url, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
     values (gen_random_uuid(), 'http://127.0.0.1:9/', 'default', $1, 'scheduled', now(), now(), now(), now())`,
    [`order-${held}`],
  );
  const { last, told } = importEndlessly(draining.url);
  await told(piece);
  draining.kill("SIGTERM");
  await expect.poll(() => fetch(`${draining.url}/healthz`).catch(() => null), { timeout: 10_000 }).toBeNull();
  await stranger.query("rollback");
  const { accepted = 0, refused = 0, line = 0, problem } = (await last) ?? {};
  expect(problem).toMatchObject({ type: "urn:lapse:problem:stopping" });
  expect(line).toBe(accepted + refused + 1);
  expect(await draining.exited).toEqual({ code: 0, signal: null });
  const keys = await keysIn(databaseUrl);
  expect(keys.size).toBe(accepted);
  // On a slow machine the lock is held longer than a line waits for it.
  const missing = Array.from({ length: line - 1 }, (_, i) => i).filter((i) => !keys.has(i));
  expect(missing).toEqual(refused === 0 ? [] : [held]);
});

test("an import whose process is killed has no last line, and the same lines again store each task once", {
  timeout,
}, async () => {
  const { start, databaseUrl } = await makeWorld();
  const killed = await start("api");
  const { last, told } = importEndlessly(killed.url);
  const { accepted = 0 } = await told(2 * piece);
  killed.kill("SIGKILL");
  expect(await last).toBeNull();
  const left = await keysIn(databaseUrl);
  expect(Array.from({ length: accepted }, (_, i) => i).filter((i) => !left.has(i))).toEqual([]);
  const all = Math.max(...left.keys()) + 1 + piece;
  const next = await start("api");
  expect((await importAll(next.url, linesOf(0, all))).at(-1)).toEqual({ accepted: all, refused: 0, done: true });
  expectEachOnce(await keysIn(databaseUrl), all);
});

/** Of a process, in MiB. */
function residentMiB({ pid }: LapseProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

test("an import of far more than the process may hold is taken in whole", { timeout }, async () => {
  const heapMiB = 128;
  const [lineKiB, count] = [32, 10_000];
  const database = await createDatabase();
  const env = {
    DATABASE_URL: database.url,
    REDIS_URL: "redis://127.0.0.1:1",
    LAPSE_ROLE: "api",
    LAPSE_ALLOW_PRIVATE_TARGETS: "true",
  };
  const lapse = await startLapse({ env: { ...env, NODE_OPTIONS: `--max-old-space-size=${heapMiB}` } });
  onTestFinished(async () => {
    await lapse.end();
    await database.drop();
  });
  const before = residentMiB(lapse);
  let most = 0;
  const call = openImport(lapse.url);
  const payload = "x".repeat(lineKiB * 1024);
  for (let i = 0; i < count; i += 1) {
    // Storing so much would take long: most of it is refused.
    await call.send(lineOf(i, i % 10 === 0 ? { payload } : { other: payload }));
    if (i % 100 === 0) most = Math.max(most, residentMiB(lapse));
  }
  call.end();
  expect((await call.ended).at(-1)).toEqual({ accepted: count / 10, refused: (9 * count) / 10, done: true });
  const sentMiB = (lineKiB * count) / 1024;
  expect(most - before).toBeLessThan(sentMiB / 2);
});

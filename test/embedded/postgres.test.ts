import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemHome } from "../../src/embedded/data-home.ts";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { createLog } from "../../src/runtime/log.ts";
import { guardsOf, hold, kill, makeDataDir, postgresProcesses, query, until } from "./support.ts";

const log = createLog("silent");
const isRoot = process.getuid?.() === 0;
const fill = ["create table kept (value integer)", "insert into kept values (42)"];

/** Where the database of a folder with mode 0700 is: as root its server's user cannot enter it. */
function clusterOf(dataDir: string): string {
  return join(isRoot ? systemHome(dataDir) : dataDir, "postgres");
}

async function startAgain(dataDir: string): Promise<unknown[]> {
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  try {
    return await query(postgres.url, "select value from kept");
  } finally {
    await postgres.stop();
  }
}

test("data survives a stop, in a folder that only its owner may enter", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await query(postgres.url, ...fill);
  await postgres.stop();
  expect(postgresProcesses(clusterOf(dataDir))).toEqual([]);
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("what was committed is on disk: fsync and synchronous_commit are on", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const rows = await query(
    postgres.url,
    "select name, setting from pg_settings where name ~ '^(fsync|synchronous_commit)$'",
  );
  await postgres.stop();
  expect(rows).toEqual([
    { name: "fsync", setting: "on" },
    { name: "synchronous_commit", setting: "on" },
  ]);
});

test("nobody gets in without the password, which only its owner can read", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const url = new URL(postgres.url);
  url.password = "guessed";
  await expect(query(url.href, "select 1")).rejects.toThrow(/password/);
  await postgres.stop();
  const { mode } = statSync(join(clusterOf(dataDir), "..", "password"));
  expect(mode & 0o777).toBe(0o600);
});

test("a process killed with -9 takes its server along, and the next finds the data", async () => {
  const dataDir = makeDataDir();
  const { child, said } = await hold(dataDir);
  await query(said.postgresUrl ?? "", ...fill);
  await kill(child);
  await until(() => postgresProcesses(clusterOf(dataDir)).length === 0);
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("a process killed with -9 is replaced at once, while its server still stops", async () => {
  const dataDir = makeDataDir();
  const { child, said } = await hold(dataDir);
  await query(said.postgresUrl ?? "", ...fill);
  await kill(child);
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("a process killed with -9 together with its servers finds the data again", async () => {
  const dataDir = makeDataDir();
  const { child, said } = await hold(dataDir);
  await query(said.postgresUrl ?? "", ...fill);
  for (const pid of postgresProcesses(clusterOf(dataDir))) process.kill(pid, "SIGKILL");
  await kill(child);
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("a server that outlived its process and its guard is stopped by the next start", async () => {
  const dataDir = makeDataDir();
  const { child, said } = await hold(dataDir);
  await query(said.postgresUrl ?? "", ...fill);
  const orphans = postgresProcesses(clusterOf(dataDir));
  for (const guard of orphans.flatMap(guardsOf)) process.kill(guard, "SIGKILL");
  await kill(child);
  expect(postgresProcesses(clusterOf(dataDir))).toEqual(expect.arrayContaining(orphans.slice(0, 1)));
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("a postmaster.pid whose number belongs to another process by now holds nothing up", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await query(postgres.url, ...fill);
  await postgres.stop();
  writeFileSync(join(clusterOf(dataDir), "postmaster.pid"), `${process.pid}\n${clusterOf(dataDir)}\n1\n5432\n\n\n\n`);
  expect(await startAgain(dataDir)).toEqual([{ value: 42 }]);
});

test("a first start that was cut short is begun again", async () => {
  const dataDir = makeDataDir();
  const unfinished = `${clusterOf(dataDir)}.new`;
  mkdirSync(unfinished, { recursive: true });
  writeFileSync(join(unfinished, "PG_VERSION"), "18\n");
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await query(postgres.url, ...fill);
  await postgres.stop();
  expect(existsSync(unfinished)).toBe(false);
});

test("a second process on the folder is refused with one line that names the first", async () => {
  const dataDir = makeDataDir();
  const first = await hold(dataDir);
  const second = await hold(dataDir);
  expect(second.said.fault).toMatch(new RegExp(`^LAPSE_DATA_DIR: .* is in use by process ${first.child.pid}: .*`));
  expect(await query(first.said.postgresUrl ?? "", "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a database of another major version is refused, not lost", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await postgres.stop();
  writeFileSync(join(clusterOf(dataDir), "PG_VERSION"), "17\n");
  await expect(startEmbeddedPostgres({ dataDir, log })).rejects.toThrow(/^LAPSE_DATA_DIR: .*made by PostgreSQL 17/);
});

test("a server that dies is started again where it was, with its data", async () => {
  const dataDir = makeDataDir();
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await query(postgres.url, ...fill);
  for (const pid of postgresProcesses(clusterOf(dataDir))) process.kill(pid, "SIGKILL");
  await until(() =>
    query(postgres.url, "select 1").then(
      () => true,
      () => false,
    ),
  );
  expect(await query(postgres.url, "select value from kept")).toEqual([{ value: 42 }]);
  await postgres.stop();
});

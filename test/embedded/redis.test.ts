import { createClient } from "redis";
import { expect, onTestFinished, test } from "vitest";
import { startEmbeddedRedis } from "../../src/embedded/redis.ts";
import { createLog } from "../../src/runtime/log.ts";
import { hold, kill, makeDataDir, until } from "./support.ts";

const log = createLog("silent");

/** Runs one command on a connection of its own. */
async function command(url: string, ...words: string[]): Promise<string> {
  const client = createClient({ url, socket: { reconnectStrategy: false } });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.sendCommand(words)) as unknown as string;
  } finally {
    client.destroy();
  }
}

async function start(): Promise<{ url: string; stop(): Promise<void> }> {
  const redis = await startEmbeddedRedis({ dataDir: makeDataDir(), log });
  if (redis === null)
    throw new Error("No redis-server or valkey-server: `npm run setup` fetches one, or says what to install");
  onTestFinished(() => redis.stop());
  return redis;
}

test("it never forgets by itself and keeps nothing on disk", async () => {
  const { url } = await start();
  const info = await command(url, "INFO");
  expect(info).toContain("maxmemory_policy:noeviction");
  expect(info).toContain("aof_enabled:0");
  expect(info).toContain("rdb_saves:0");
});

test("nobody gets in without the password", async () => {
  const { url } = await start();
  const open = new URL(url);
  open.password = "";
  await expect(command(open.href, "PING")).rejects.toThrow(/NOAUTH/);
});

test("one that dies is started again where it was", async () => {
  const { url } = await start();
  await command(url, "SET", "a", "1");
  const pid = Number(/process_id:(\d+)/.exec(await command(url, "INFO", "server"))?.[1]);
  process.kill(pid, "SIGKILL");
  const answer = (): Promise<unknown> => command(url, "EXISTS", "a").catch(() => "away");
  await until(async () => (await answer()) === 0);
  expect(await answer()).toBe(0);
});

test("a process killed with -9 takes it along", async () => {
  const { child, said } = await hold(makeDataDir());
  const url = said.redisUrl ?? "";
  expect(await command(url, "PING")).toBe("PONG");
  await kill(child);
  const isGone = (): Promise<boolean> =>
    command(url, "PING").then(
      () => false,
      () => true,
    );
  await until(isGone);
  expect(await isGone()).toBe(true);
});

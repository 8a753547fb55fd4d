// Owns the world of a fault plan: its own PostgreSQL and Redis, Lapse as processes of its own behind fault proxies, receivers and a caller.
// It needs no test runner, so that the soak runs on it as well.

import { createClient } from "redis";
import { startPostgres, startRedis, type TestPostgres, type TestRedis } from "../support/servers.ts";
import { BadReceivers } from "./bad-receivers.ts";
import { Caller } from "./caller.ts";
import type { Span } from "./history.ts";
import { type Clock, Member } from "./member.ts";
import { apis, dispatchers } from "./plan.ts";

/** A caller that waits no longer than this for an answer: so that one whose API is stopped goes on at the other. */
const answerMsMax = 8_000;
const replicaReadyMsMax = 10_000;

export interface RigOptions {
  /** Another checkout of Lapse to run. */
  readonly folder?: string;
  /** Left out: two APIs and three dispatchers. */
  readonly names?: readonly string[];
  /** Whose clocks are off from the start. */
  readonly clocks?: Readonly<Record<string, Clock>>;
}

export class Rig {
  readonly postgres: TestPostgres;
  readonly members: ReadonlyMap<string, Member>;
  readonly receivers: BadReceivers;
  readonly caller: Caller;
  /** When Postgres was away for everybody. */
  readonly postgresAway: Span[] = [];
  #redis: TestRedis;

  private constructor(parts: { postgres: TestPostgres; redis: TestRedis; members: Member[]; receivers: BadReceivers }) {
    this.postgres = parts.postgres;
    this.#redis = parts.redis;
    this.members = new Map(parts.members.map((member) => [member.name, member]));
    this.receivers = parts.receivers;
    // Each call goes to the next API, as behind a load balancer that does not look.
    let calls = 0;
    const urls = parts.members.filter(({ role }) => role === "api");
    this.caller = new Caller(() => urls[(calls += 1) % urls.length]?.url ?? "", answerMsMax);
    this.receivers.confirmBy(this.caller);
  }

  /** All is up: the first process makes the schema. */
  static async start({ folder, names = [...apis, ...dispatchers], clocks = {} }: RigOptions = {}): Promise<Rig> {
    const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    const given = { databaseUrl: postgres.url, redisUrl: redis.url, ...(folder === undefined ? {} : { folder }) };
    const members = await Promise.all(
      names.map((name) => Member.create({ name, role: isApi(name) ? "api" : "dispatcher", ...given })),
    );
    const rig = new Rig({ postgres, redis, members, receivers: await BadReceivers.start() });
    try {
      await Promise.all(members.map((member) => member.start(clocks[member.name])));
    } catch (error) {
      await rig.close();
      throw error;
    }
    return rig;
  }

  get redis(): TestRedis {
    return this.#redis;
  }

  get dispatchers(): Member[] {
    return [...this.members.values()].filter(({ role }) => role === "dispatcher");
  }

  /** A member by its name, or all of them. */
  targets(name: string): Member[] {
    return name === "all" ? [...this.members.values()] : [this.member(name)];
  }

  member(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`There is no ${name} in this world`);
    return member;
  }

  async redisCommand(...words: string[]): Promise<string> {
    return redisCommand(this.#redis.url, ...words);
  }

  /** Puts a replica in Redis's place that has not heard of the last `staleMs`. */
  async promoteStaleReplica(staleMs: number, wait: (ms: number) => Promise<void>): Promise<void> {
    const master = this.#redis;
    const replica = await startRedis();
    await redisCommand(master.url, "CONFIG", "SET", "repl-diskless-sync-delay", "0");
    await redisCommand(replica.url, "REPLICAOF", "127.0.0.1", String(master.port));
    const deadline = performance.now() + replicaReadyMsMax;
    while (!(await redisCommand(replica.url, "INFO", "replication")).includes("master_link_status:up")) {
      if (performance.now() > deadline) throw new Error("the replica did not catch up");
      await wait(20);
    }
    await redisCommand(replica.url, "REPLICAOF", "NO", "ONE");
    await wait(staleMs);
    this.#redis = replica;
    for (const member of this.members.values()) member.redis.retarget(replica.port);
    await master.stop();
  }

  async close(): Promise<void> {
    await Promise.all([...this.members.values()].map((member) => member.close()));
    await Promise.all([this.caller.close(), this.receivers.close()]);
    await Promise.all([this.postgres.stop(), this.#redis.stop()]);
  }
}

function isApi(name: string): boolean {
  return apis.some((api) => api === name);
}

async function redisCommand(url: string, ...words: string[]): Promise<string> {
  const client = createClient({ url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.sendCommand(words)) as unknown as string;
  } finally {
    client.destroy();
  }
}

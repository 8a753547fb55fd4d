// Owns what each kind of fault does to the world of a plan, and when it is over.

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { rowsOf } from "./held.ts";
import { hostNow } from "./host-clock.ts";
import type { Member } from "./member.ts";
import type { FaultKind, Step } from "./plan.ts";
import type { FaultProxy, NetworkFault } from "./proxy.ts";
import type { Rig } from "./rig.ts";

const slowMs = 60;
const bytesPerSecond = 256 * 1024;
/** One in so many writes loses its answer. */
const cutEvery = 4;
const staleMs = 1_500;

type Inject = (rig: Rig, members: readonly Member[], durationMs: number) => Promise<void>;

/** Resolves once the world is whole again. */
export function inject(rig: Rig, { fault, target, durationMs }: Step): Promise<void> {
  return faults[fault](rig, rig.targets(target), durationMs);
}

const faults: Readonly<Record<FaultKind, Inject>> = {
  "process-kill": each((member, durationMs) =>
    member.away("killed", async () => {
      await member.kill();
      await sleep(durationMs);
      await member.start();
    }),
  ),
  "process-stop": each((member, durationMs) =>
    member.away("stopped", async () => {
      member.signal("SIGSTOP");
      await sleep(durationMs);
      member.signal("SIGCONT");
    }),
  ),
  "process-drain": each((member, durationMs) => member.away("drained", () => restart(member, durationMs))),
  "rolling-restart": async (_rig, members) => {
    for (const member of members) await member.away("drained", () => restart(member, 0));
  },
  "clock-ahead": each((member, durationMs) => skewClock(member, "ahead", durationMs)),
  "clock-behind": each((member, durationMs) => skewClock(member, "behind", durationMs)),
  "redis-flush": async (rig) => void (await rig.redisCommand("FLUSHALL")),
  "redis-kill": async ({ redis }, _members, durationMs) => {
    redis.kill("SIGKILL");
    await sleep(durationMs);
    await redis.restart();
  },
  "redis-stop": async ({ redis }, _members, durationMs) => {
    redis.kill("SIGSTOP");
    await sleep(durationMs);
    redis.kill("SIGCONT");
  },
  "redis-full": setRedis(["maxmemory", "1"], ["maxmemory", "0"]),
  "redis-read-only": async (rig, _members, durationMs) => {
    await rig.redisCommand("REPLICAOF", "127.0.0.1", "1");
    await sleep(durationMs);
    await rig.redisCommand("REPLICAOF", "NO", "ONE");
  },
  "redis-no-replicas": setRedis(["min-replicas-to-write", "1"], ["min-replicas-to-write", "0"]),
  "redis-stale-replica": (rig, _members, durationMs) => rig.promoteStaleReplica(staleMs + durationMs, sleep),
  "redis-reset": redisNetwork({ kind: "refused" }),
  "redis-half-open": redisNetwork({ kind: "half-open" }),
  "redis-slow": redisNetwork({ kind: "slow", delayMs: 2 * slowMs }),
  "postgres-kill": (rig, _members, durationMs) => stopPostgres(rig, "SIGKILL", durationMs),
  "postgres-restart": (rig, _members, durationMs) => stopPostgres(rig, "SIGINT", durationMs),
  "postgres-terminate": async ({ postgres }) => {
    const others =
      "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'";
    await rowsOf(postgres.url, others);
  },
  "postgres-lock": lockTasks,
  "postgres-reset": each(async (member) => member.postgres.reset()),
  "postgres-cut": cutOff({ kind: "refused" }),
  "postgres-half-open": cutOff({ kind: "half-open" }),
  "postgres-stall": cutOff({ kind: "stalled" }),
  "postgres-slow": postgresNetwork({ kind: "slow", delayMs: slowMs }),
  "postgres-throttle": postgresNetwork({ kind: "throttled", bytesPerSecond }),
  "postgres-cut-after-commit": postgresNetwork({ kind: "cut-after-commit", every: cutEvery }),
};

function each(work: (member: Member, durationMs: number) => Promise<void>): Inject {
  return async (_rig, members, durationMs) => {
    await Promise.all(members.map((member) => work(member, durationMs)));
  };
}

async function restart(member: Member, pauseMs: number): Promise<void> {
  await member.drain();
  await sleep(pauseMs);
  await member.start();
}

async function skewClock(member: Member, clock: "ahead" | "behind", durationMs: number): Promise<void> {
  await member.away("drained", async () => {
    await member.drain();
    await member.start(clock);
  });
  await sleep(durationMs);
  await member.away("drained", async () => {
    await member.drain();
    await member.start();
  });
}

function setRedis(ill: readonly string[], well: readonly string[]): Inject {
  return async (rig, _members, durationMs) => {
    await rig.redisCommand("CONFIG", "SET", ...ill);
    await sleep(durationMs);
    await rig.redisCommand("CONFIG", "SET", ...well);
  };
}

function redisNetwork(fault: NetworkFault): Inject {
  return each((member, durationMs) => impair(member.redis, fault, durationMs));
}

function postgresNetwork(fault: NetworkFault): Inject {
  return each((member, durationMs) => impair(member.postgres, fault, durationMs));
}

/** The same where nothing gets through: meanwhile the member can do nothing. */
function cutOff(fault: NetworkFault): Inject {
  return each((member, durationMs) => member.away("cut off", () => impair(member.postgres, fault, durationMs)));
}

async function impair(network: FaultProxy, fault: NetworkFault, durationMs: number): Promise<void> {
  network.set(fault);
  await sleep(durationMs);
  network.set({ kind: "none" });
}

async function stopPostgres(rig: Rig, signal: NodeJS.Signals, durationMs: number): Promise<void> {
  await awayForAll(rig, async () => {
    rig.postgres.kill(signal);
    await sleep(durationMs);
    await rig.postgres.restart();
  });
}

/** As a careless migration does. */
async function lockTasks(rig: Rig, _members: readonly Member[], durationMs: number): Promise<void> {
  const stranger = new Client({ connectionString: rig.postgres.url });
  stranger.on("error", () => undefined);
  await stranger.connect();
  await awayForAll(rig, async () => {
    await stranger.query("begin");
    await stranger.query("lock table lapse.tasks in access exclusive mode");
    await sleep(durationMs);
    await stranger.end();
  });
}

async function awayForAll({ postgresAway }: Rig, work: () => Promise<void>): Promise<void> {
  const from = hostNow();
  try {
    await work();
  } finally {
    postgresAway.push({ from, to: hostNow() });
  }
}

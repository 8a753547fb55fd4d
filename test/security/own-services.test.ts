// That tasks cannot be pointed at Lapse itself or its stores, even where every private address may be called: security requirement C7.

import dns from "node:dns";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { until } from "../support/flow.ts";
import { startReceiver } from "../support/receiver.ts";
import { startRedisCluster } from "../support/redis-cluster.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type Planter, startPlanter } from "./planted.ts";
import { startTrap, type Trap } from "./trap.ts";

let redis: TestRedis;
let service: TestService;
let planter: Planter;
/** By what it is, where it listens. */
let ports: { api: number; postgres: number; redis: number };
let trap: Trap;

beforeAll(async () => {
  redis = await startRedis();
  service = await startTestService({
    redis: `redis://127.0.0.1:${redis.port}`,
    config: { privateTargets: { allow: "all" } },
  });
  planter = await startPlanter(service);
  const port = (url: string): number => Number(new URL(url).port);
  ports = { api: port(service.url), postgres: port(service.databaseUrl), redis: redis.port };
  trap = await startTrap();
});

afterEach(() => {
  vi.restoreAllMocks();
});

afterAll(async () => {
  await trap.close();
  await planter.close();
  await service.stop();
  await redis.stop();
});

const hosts = ["127.0.0.1", "localhost", "127.1", "0x7f000001", "0.0.0.0", "[::ffff:127.0.0.1]"];

test.each(["api", "postgres", "redis"] as const)(
  "its own %s is refused at create, in every spelling",
  async (which) => {
    for (const host of hosts) {
      const url = `http://${host}:${ports[which]}/v1/tasks`;
      const { problem } = await service.api.post("/v1/tasks", { url });
      expect({ url, ...problem }).toMatchObject({
        url,
        status: 422,
        errors: [{ path: "/url", message: "must not point to Lapse itself or its stores" }],
      });
    }
  },
);

test("its own are blocked at fire where the row holds them", async () => {
  const urls = Object.values(ports).flatMap((port) => hosts.map((host) => `http://${host}:${port}/healthz`));
  for (const { url, lastAttempt } of await planter.fire("url", urls)) {
    expect({ url, ...lastAttempt }).toMatchObject({ url, outcome: "blocked", status: null });
  }
});

test("its own are blocked at fire where a name resolves to them, and another port of that name is called", async () => {
  const receiver = await startReceiver();
  vi.spyOn(dns, "lookup").mockImplementation(((
    _host: string,
    _options: unknown,
    answer: (error: null, found: dns.LookupAddress[]) => void,
  ) => answer(null, [{ address: "127.0.0.1", family: 4 }])) as never);
  const own = Object.values(ports).map((port) => `http://alias.test:${port}/`);
  const other = `http://alias.test:${new URL(receiver.url).port}/`;
  const tasks = await planter.fire("url", [...own, other]);
  const outcomes = new Map(tasks.map(({ url, lastAttempt }) => [url, lastAttempt?.outcome]));
  expect(own.map((url) => outcomes.get(url))).toEqual(["blocked", "blocked", "blocked"]);
  expect(outcomes.get(other)).toBe("succeeded");
  expect(receiver.requests).toHaveLength(1);
  await receiver.close();
});

test("a node of its Redis Cluster that only the cluster names is refused once that is known", async () => {
  const cluster = await startRedisCluster();
  const config = { redisUrls: cluster.urls.slice(0, 2), privateTargets: { allow: "all" }, role: "api" } as const;
  const clustered = await startTestService({ redis: "away", config });
  const url = `http://127.0.0.1:${cluster.nodes[2]?.port}/`;
  const refused = await until(
    () => clustered.api.post("/v1/tasks", { url, delay: "1h" }),
    ({ status }) => status !== 201,
  );
  expect(refused.problem).toMatchObject({ status: 422, errors: [{ path: "/url" }] });
  await clustered.stop();
  await cluster.stop();
});

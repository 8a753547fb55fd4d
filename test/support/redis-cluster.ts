// Owns a Redis Cluster of local processes for tests: three masters, no replicas.

import { createClient } from "redis";
import { setTimeout as sleep } from "node:timers/promises";
import { startRedis, type TestRedis } from "./servers.ts";

const slotCount = 16_384;
const nodeCount = 3;
/** The cluster bus listens at the port plus this, so the port itself must stay low enough. */
const busOffset = 10_000;
const readyMsMax = 20_000;

export interface TestRedisCluster {
  /** The nodes' URLs, as in REDIS_URL once joined by commas. */
  readonly urls: readonly string[];
  readonly nodes: readonly TestRedis[];
  stop(): Promise<void>;
}

/** Starts the nodes, gives each a third of the slots, and resolves once every node says that the cluster is whole. */
export async function startRedisCluster(): Promise<TestRedisCluster> {
  const nodes: TestRedis[] = [];
  try {
    while (nodes.length < nodeCount) nodes.push(await startNode());
    await joinNodes(nodes);
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw error;
  }
  return {
    urls: nodes.map(({ url }) => url),
    nodes,
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  };
}

/** Ports are drawn below 50,000, so that the bus's port exists; one in use makes the server end, and another is drawn. */
async function startNode(triesLeft = 20): Promise<TestRedis> {
  const port = 20_000 + Math.floor(Math.random() * 30_000);
  const settings = [
    "cluster-enabled yes",
    "cluster-config-file nodes.conf",
    "cluster-node-timeout 2000",
    `cluster-port ${port + busOffset}`,
  ];
  try {
    return await startRedis({ port, settings });
  } catch (error) {
    if (triesLeft === 0) throw error;
    return startNode(triesLeft - 1);
  }
}

async function joinNodes(nodes: readonly TestRedis[]): Promise<void> {
  const share = Math.ceil(slotCount / nodes.length);
  for (const [index, node] of nodes.entries()) {
    const last = Math.min((index + 1) * share, slotCount) - 1;
    await command(node, "CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    await command(node, "CLUSTER", "ADDSLOTSRANGE", String(index * share), String(last));
  }
  const [first, ...others] = nodes;
  for (const node of others) await command(node, "CLUSTER", "MEET", "127.0.0.1", String(first?.port));
  const deadline = Date.now() + readyMsMax;
  for (const node of nodes) {
    while (!(await isWhole(node, nodes.length))) {
      if (Date.now() > deadline) throw new Error(`the Redis cluster is not whole after ${readyMsMax} ms`);
      await sleep(50);
    }
  }
}

async function isWhole(node: TestRedis, size: number): Promise<boolean> {
  const info = await command(node, "CLUSTER", "INFO");
  return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`);
}

async function command(node: TestRedis, ...words: string[]): Promise<string> {
  const client = createClient({ url: node.url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.sendCommand(words)) as unknown as string;
  } finally {
    client.destroy();
  }
}

// Owns the figure of a burst: a flash sale, with tasks due in one second by the ten thousands in one queue, and what it does to another queue.

import { startBenchServers } from "./bench-servers.ts";
import type { Call } from "./receiver-process.ts";
import { latenessOf, Receiver } from "./receiver.ts";
import { openLoop, Service, storeSettings } from "./service.ts";
import { percentile } from "./statistics.ts";

type Figure = Readonly<Record<string, unknown>>;

export const burstTasksDefault = 100_000;
const withinMs = 1_000;
const batchTasks = 1_000;
const batchesTogether = 4;
/** For all of them to be accepted before the first is due. */
const leadMs = (tasks: number): number => 20_000 + tasks * 0.4;
const drainMsMax = 240_000;
const trickle = { queue: "trickle", perSecond: 50, calmMs: 10_000, delay: "1s" } as const;

export async function measureBurst(tasks: number): Promise<Figure> {
  const servers = await startBenchServers();
  const [sale, other] = [await Receiver.start(), await Receiver.start()];
  try {
    const store = await servers.open("burst", 1);
    const service = await Service.start(storeSettings(store));
    const dueFrom = Date.now() + leadMs(tasks);
    await acceptSale(service, { url: sale.url, dueFrom, tasks });
    if (Date.now() > dueFrom - trickle.calmMs - 2_000)
      throw new Error("the sale was accepted too late for a calm before it");
    const trickles = async (forMs: number): Promise<void> => {
      await openLoop(trickle.perSecond, forMs, () =>
        service.accept({ url: other.url, queue: trickle.queue, delay: trickle.delay }),
      );
    };
    await trickles(trickle.calmMs);
    const calm = await other.taken();
    const drain = { isOver: false };
    const drained = sale.calls(tasks, drainMsMax).finally(() => (drain.isOver = true));
    while (!drain.isOver) await trickles(withinMs);
    const calls = await drained;
    const beside = (await other.taken()).filter(({ at }) => at >= dueFrom);
    await service.stop();
    await store.drop();
    return {
      tasks,
      withinMs,
      ...figureOf(calls, dueFrom),
      trickleLatenessMs: { calm: latenessOf(calm), beside: latenessOf(beside) },
    };
  } finally {
    for (const receiver of [sale, other]) receiver.stop();
    await servers.stop();
  }
}

async function acceptSale(
  service: Service,
  { url, dueFrom, tasks }: { url: string; dueFrom: number; tasks: number },
): Promise<void> {
  const starts = Array.from({ length: tasks / batchTasks }, (_, i) => i * batchTasks).values();
  await Promise.all(
    Array.from({ length: batchesTogether }, async () => {
      for (const start of starts)
        await service.acceptBatch(
          Array.from({ length: batchTasks }, (_, i) => ({
            url,
            queue: "sale",
            dueAt: new Date(dueFrom + (((start + i) * 7) % withinMs)).toISOString(),
            key: `cart-${start + i}`,
            payload: { cartId: start + i },
          })),
        );
    }),
  );
}

/** `outOfOrderMs`: how much later than itself a task was due that was called before it. */
function figureOf(calls: readonly Call[], dueFrom: number): Figure {
  const lastAt = calls.at(-1)?.at ?? Number.NaN;
  let latestDue = 0;
  const outOfOrder = calls.map(({ dueAt }) => {
    latestDue = Math.max(latestDue, dueAt);
    return latestDue - dueAt;
  });
  const sorted = outOfOrder.toSorted((a, b) => a - b);
  return {
    drainedPerSecond: Math.round((calls.length * 1_000) / (lastAt - dueFrom)),
    early: calls.filter(({ dueAt, at }) => at < dueAt).length,
    outOfOrderMs: { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1) },
  };
}

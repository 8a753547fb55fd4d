// Owns the tasks of a backlog: due over the next three months, in no order, each with a key.

const linesPerChunk = 200;
/** None is due within the horizon of the index. */
const fromMs = 3_600_000;
const spanMs = 90 * 86_400_000;
const shops = 20;
/** Prime: by such steps every number below another is met once, far from the one before. */
const step = 7_368_787;

/** As the import takes them. */
export async function* backlogLines(tasks: number): AsyncGenerator<Uint8Array> {
  const now = Date.now();
  for (let made = 0; made < tasks; made += linesPerChunk) {
    const count = Math.min(linesPerChunk, tasks - made);
    const lines = Array.from({ length: count }, (_, i) => `${JSON.stringify(backlogTask(made + i, now))}\n`);
    yield Buffer.from(lines.join(""));
  }
}

export function backlogTask(n: number, now: number): Readonly<Record<string, unknown>> {
  return {
    url: "http://127.0.0.1:9/hooks/cancel-order",
    dueAt: new Date(now + fromMs + ((n * step * 1_000) % spanMs)).toISOString(),
    queue: n % 10 === 0 ? `shop-${(n / 10) % shops}` : "default",
    key: backlogKey(n),
    payload: { orderId: n },
    labels: n % 10 === 1 ? { shop: "eu" } : {},
  };
}

/** Keys of tasks of the default queue, each once, far from one another. */
export function* backlogKeys(tasks: number): Generator<string, never> {
  for (let i = 0; ; i += 1) {
    const n = (i * step) % tasks;
    if (n % 10 !== 0) yield backlogKey(n);
  }
}

function backlogKey(n: number): string {
  return `order-${n}:payment-timeout`;
}

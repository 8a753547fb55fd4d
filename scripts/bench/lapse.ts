// Owns Lapse as the benchmark runs it: one process with the default settings, and a queue with more slots than the default.

import type { Contender } from "./contender.ts";
import { openHttpProducer } from "./http-producer.ts";
import { type LapseProcess, startLapse } from "./lapse-process.ts";
import { storeSettings } from "./service.ts";

const countSql = `select count(*) filter (where state in ('scheduled', 'paused', 'running'))::int as live,
  count(*) filter (where state = 'succeeded')::int as succeeded from lapse.tasks`;

/** A drain is faster by a third than with the default of 100, which spares receivers; with 1,000 it is hardly faster still, and the event loop stands still for longer. */
const slots = 300;

export const lapse: Contender = {
  async startWorker({ lapseFolder, ...servers }) {
    const started = await startLapse(storeSettings(servers), lapseFolder);
    await setSlots(started);
    return started;
  },
  openProducer(servers, address) {
    if (address === null) throw new Error("Lapse is reached over HTTP");
    return Promise.resolve(openHttpProducer(servers, address, countSql));
  },
};

async function setSlots({ address }: LapseProcess): Promise<void> {
  const answer = await fetch(`${address}/v1/queues/default`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ concurrency: slots }),
  });
  if (!answer.ok) throw new Error(`PUT /v1/queues/default: ${answer.status} ${await answer.text()}`);
}

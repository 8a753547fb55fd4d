// Owns Lapse as the benchmark runs it: one process with the default settings.

import type { Contender } from "./contender.ts";
import { openHttpProducer } from "./http-producer.ts";
import { startLapse } from "./lapse-process.ts";
import { storeSettings } from "./service.ts";

const countSql = `select count(*) filter (where state in ('scheduled', 'paused', 'running'))::int as live,
  count(*) filter (where state = 'succeeded')::int as succeeded from lapse.tasks`;

export const lapse: Contender = {
  startWorker: ({ lapseFolder, ...servers }) => startLapse(storeSettings(servers), lapseFolder),
  openProducer(servers, address) {
    if (address === null) throw new Error("Lapse is reached over HTTP");
    return Promise.resolve(openHttpProducer(servers, address, countSql));
  },
};

// Owns the process of one side of a contender: what fires (`worker`), or the callers (`producer`).

import { contenders, isContenderName } from "./contenders.ts";
import type { Producer, Servers, Worker } from "./contender.ts";
import { LoadGenerator } from "./load-generator.ts";
import { serveCalls } from "./remote.ts";

const [, , role, name = ""] = process.argv;
if (!isContenderName(name)) throw new Error(`no contender is called ${name}`);
const contender = await contenders[name].load();

if (role === "worker") {
  let worker: Worker | null = null;
  serveCalls({
    start: async (servers: Servers) => {
      worker = await contender.startWorker(servers);
      return worker.address;
    },
    end: async () => worker?.stop(),
  });
} else {
  let producer: Producer | null = null;
  let load: LoadGenerator | null = null;
  const opened = (): LoadGenerator => {
    if (load === null) throw new Error("the producer is not open");
    return load;
  };
  serveCalls({
    start: async ({ servers, address, url }: { servers: Servers; address: string | null; url: string }) => {
      producer = await contender.openProducer(servers, address);
      load = new LoadGenerator(producer, url);
    },
    accept: async (options: Parameters<LoadGenerator["accept"]>[0]) => opened().accept(options),
    prepare: async (options: Parameters<LoadGenerator["prepare"]>[0]) => opened().prepare(options),
    sendPrepared: async () => opened().sendPrepared(),
    readAnswers: async () => opened().readAnswers(),
    fill: async (options: Parameters<LoadGenerator["fill"]>[0]) => opened().fill(options),
    spread: async (options: Parameters<LoadGenerator["spread"]>[0]) => opened().spread(options),
    cancelAll: async () => opened().cancelAll(),
    counts: async () => producer?.counts(),
    recorded: async (options: Parameters<LoadGenerator["recorded"]>[0]) => opened().recorded(options),
    end: async () => producer?.close(),
  });
}

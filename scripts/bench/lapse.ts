// Owns Lapse as the benchmark runs it: one process with the default settings.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Contender } from "./contender.ts";
import { openHttpProducer } from "./http-producer.ts";
import { readAddress } from "./ready.ts";

const countSql = `select count(*) filter (where state in ('scheduled', 'paused', 'running'))::int as live,
  count(*) filter (where state = 'succeeded')::int as succeeded from lapse.tasks`;

/** Of the log: what goes its usual way. */
const infoLine = /^\{"level":[1-3]0,/;

export const lapse: Contender = {
  async startWorker({ databaseUrl, redisUrl, lapseFolder }) {
    const service = spawn(process.execPath, ["src/main.ts"], {
      cwd: lapseFolder,
      env: {
        ...process.env,
        PORT: "0",
        DATABASE_URL: databaseUrl,
        REDIS_URL: redisUrl,
        LAPSE_ALLOW_PRIVATE_TARGETS: "true",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exited = once(service, "exit");
    createInterface(service.stderr).on("line", (line) => {
      if (!infoLine.test(line)) console.error(`lapse: ${line}`);
    });
    process.once("exit", () => service.kill("SIGKILL"));
    return {
      address: await readAddress(service),
      async stop() {
        service.kill("SIGTERM");
        await exited;
      },
    };
  },
  openProducer(servers, address) {
    if (address === null) throw new Error("Lapse is reached over HTTP");
    return Promise.resolve(openHttpProducer(servers, address, countSql));
  },
};

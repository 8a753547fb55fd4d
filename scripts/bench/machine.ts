// Owns what a figure says of the machine that it was measured on.

import { cpus, totalmem } from "node:os";

/** For people. */
export function machineLine(): string {
  const [cpu] = cpus();
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  return `${cpu?.model}, ${cpus().length} cores, ${memoryGiB} GiB, Node ${process.version}; load, receiver and servers share it`;
}

/** Where the figures come from. */
export function machine(): Readonly<Record<string, unknown>> {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    settings:
      "npm start: embedded PostgreSQL 18, fsync and synchronous_commit on; one process; load, receiver and stores on the same machine",
  };
}

// Owns one run of a Redis server on loopback, until it takes connections.

import { closeSync, openSync } from "node:fs";
import { createConnection } from "node:net";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { type Child, startChild } from "./child.ts";
import { type RedisProgram, redisEnv } from "./find-redis.ts";

/** It starts empty, within tens of ms. */
const startMsMax = 15_000;
const pollMs = 5;
const answerMsMax = 1_000;

export interface RedisServerOptions {
  readonly redis: RedisProgram;
  readonly port: number;
  /** Its working folder, which exists; the log is written there. */
  readonly folder: string;
  readonly logPath: string;
  readonly password?: string;
  /** Lines of redis.conf beside those that make it a private server that keeps nothing on disk. */
  readonly settings?: readonly string[];
}

/** Starts a Redis and resolves once it listens. Rejects where it ends before that. The caller ends it: it keeps nothing. */
export async function startRedisServer(options: RedisServerOptions): Promise<Child> {
  const { redis, port, folder, logPath } = options;
  const lines = [
    "bind 127.0.0.1",
    `port ${port}`,
    'save ""',
    "appendonly no",
    "maxmemory-policy noeviction", // An index that forgets entries by itself would only be mended by healing, late.
    "daemonize no",
    ...(options.password === undefined ? [] : [`requirepass ${options.password}`]),
    ...(options.settings ?? []),
  ];
  const logFd = openSync(logPath, "w", 0o600);
  try {
    // By standard input, since others can read a command line, and there is a password among the settings.
    const input = `${lines.join("\n")}\n`;
    const child = await startChild({
      program: redis.program,
      args: ["-"],
      env: redisEnv(redis),
      cwd: folder,
      user: null,
      logFd,
      input,
      guardSignal: "KILL",
    });
    await waitUntilListening(child, options);
    return child;
  } finally {
    closeSync(logFd);
  }
}

async function waitUntilListening(child: Child, options: RedisServerOptions): Promise<void> {
  const deadlineMs = monotonicMs() + startMsMax;
  while (!child.hasExited() && monotonicMs() < deadlineMs) {
    if ((await readProcessId(options)) === child.pid) return;
    await sleep(pollMs);
  }
  child.kill("SIGKILL");
  throw new Error(`${options.redis.program} did not start on port ${options.port}: see ${options.logPath}`);
}

/** Who listens there, by its own word: the port may have been taken by another server. Null where nobody answers. */
function readProcessId({ port, password }: RedisServerOptions): Promise<number | null> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    let answer = "";
    const end = (pid: number | null): void => {
      socket.destroy();
      resolve(pid);
    };
    socket.setEncoding("utf8").setTimeout(answerMsMax, () => end(null));
    socket.on("connect", () => socket.write(`${password === undefined ? "" : `AUTH ${password}\r\n`}INFO server\r\n`));
    socket.on("data", (text: string) => {
      answer += text;
      const pid = /process_id:(\d+)\r/.exec(answer)?.[1];
      if (pid !== undefined) end(Number(pid));
    });
    socket.on("error", () => end(null)).on("close", () => end(null));
  });
}

// Owns Lapse as a child process: `node src/main.ts` on its embedded servers, in a folder of its own that goes when it ends.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemHome } from "../../src/embedded/data-home.ts";

const program = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const startMsMax = 60_000;
/** Lapse drains within 30 s; nothing of the demo's takes that long. */
const stopMsMax = 15_000;
/** Of Lapse's log, as pino numbers them. */
const errorLevel = 50;
const linesKept = 10;
/** Where Lapse was killed, its servers end a moment after it, and write until then. */
const removal = { maxRetries: 10, retryDelay: 100 };
/** Ends Lapse where the demo died without a word (kill -9): the pipe on the guard's standard input closes then. */
const guardScript = 'read -r _; kill -s TERM "$1"';

export interface LapseProcess extends AsyncDisposable {
  readonly url: string;
  /** What it runs on, in its own words. */
  readonly postgres: string;
  readonly index: string;
  /** The lines of its log that tell of an error. */
  readonly errors: readonly string[];
}

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly postgres?: string;
  readonly index?: string;
}

/** Resolves once it listens. `onDeath` hears of an end that nobody asked for; disposing ends it and removes its folder. */
export async function startLapse(options: {
  signal: AbortSignal;
  onDeath: (error: Error) => void;
}): Promise<LapseProcess> {
  const { signal, onDeath } = options;
  const dataDir = await mkdtemp(join(tmpdir(), "lapse-demo-"));
  await chmod(dataDir, 0o711); // As root the embedded PostgreSQL runs as a user of its own, who has to pass.

  // Detached: Ctrl-C reaches the demo alone, which closes the shop and ends Lapse in this order.
  const child = spawn(process.execPath, [program], {
    env: environment(dataDir),
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const guard = startGuard(child);
  const exited = once(child, "exit");
  let isStopping = false;
  const stop = async (): Promise<void> => {
    isStopping = true;
    if (child.exitCode === null && child.signalCode === null) await end(child, exited);
    guard.kill("SIGKILL");
    await rm(systemHome(dataDir), { recursive: true, force: true }); // Where that user could not enter the folder after all.
    await rm(dataDir, { recursive: true, force: true, ...removal });
  };

  const log = readLog(child);
  const died = exited.then(() => {
    const error = new Error(`Lapse ended by itself. The last it said:\n${log.lastLines.join("\n")}`);
    if (!isStopping) onDeath(error);
    throw error;
  });
  died.catch(() => undefined); // Past the start, `onDeath` is who hears of it.
  try {
    const late = sleep(startMsMax, undefined, { signal, ref: false }).then(() => {
      throw new Error(`Lapse did not start within ${startMsMax / 1_000} s`);
    });
    const [url, { postgres = "", index = "" }] = await Promise.race([
      Promise.all([log.address, log.started]),
      died,
      late,
    ]);
    return { url, postgres, index, errors: log.errors, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ours, without any setting of Lapse's: it runs on its defaults. */
function environment(dataDir: string): NodeJS.ProcessEnv {
  const isSetting = (name: string): boolean => /^(PORT|HOST|DATABASE_URL|REDIS_URL|LAPSE_.*)$/.test(name);
  const others = Object.entries(process.env).filter(([name]) => !isSetting(name));
  return { ...Object.fromEntries(others), PORT: "0", LAPSE_DATA_DIR: dataDir };
}

/** The address comes first on standard output; standard error has the log, a JSON object a line, or why it cannot start. */
function readLog(child: ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream }) {
  const address = Promise.withResolvers<string>();
  const started = Promise.withResolvers<LogLine>();
  const errors: string[] = [];
  const lastLines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [, url] = /^lapse: listening on (\S+)$/.exec(line) ?? [];
    if (url !== undefined) address.resolve(url);
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    lastLines.push(line);
    if (lastLines.length > linesKept) lastLines.shift();
    const entry = line.startsWith("{") ? (JSON.parse(line) as LogLine) : null;
    if (entry?.msg === "service.started") started.resolve(entry);
    if (entry !== null && entry.level >= errorLevel) errors.push(line);
  });
  return { address: address.promise, started: started.promise, errors, lastLines };
}

async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill("SIGTERM");
  const patience = new AbortController();
  const killed = sleep(stopMsMax, undefined, { signal: patience.signal }).then(
    () => child.kill("SIGKILL"),
    () => undefined,
  );
  await exited;
  patience.abort();
  await killed;
}

function startGuard(child: ChildProcess): ChildProcess {
  const guard = spawn("/bin/sh", ["-c", guardScript, "lapse-demo-guard", String(child.pid)], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.on("error", () => undefined); // No shell: Lapse is then ended by `stop` alone.
  guard.stdin.on("error", () => undefined);
  guard.unref();
  return guard;
}

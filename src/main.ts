// Owns the edge of the process: environment, signals, standard output and exit codes.
// The log goes to standard error as JSON lines; standard output holds one line, the address, once the service is ready.

import "./runtime/require-node.ts";
import "./runtime/thread-pool.ts";
import { type Config, readConfig } from "./config.ts";
import { monotonicMs } from "./runtime/clock.ts";
import { armFailpoint } from "./runtime/failpoint.ts";
import { createLog, type Log } from "./runtime/log.ts";
import { SettingError } from "./runtime/setting-error.ts";
import { startService } from "./service.ts";
import { refusalOf } from "./store/errors.ts";

const exitCodes = { failed: 1, badSetting: 2 } as const;
/** Ctrl-C under npm arrives twice, from the terminal and from npm: what comes this soon after the first is the same signal. */
const sameSignalMs = 1_000;

const log = createLog();
process.on("uncaughtException", (error) => {
  log.fatal({ err: error }, "process.crashed");
  process.exit(exitCodes.failed);
});
process.stdout.on("error", () => undefined); // Whoever read the address may close the pipe.

const stopRequested = listenForStop(log);
const service = await start(readSettings(), log);
console.log(`lapse: listening on ${service.url}`);
await stopRequested;
process.exit(await service.stop());

function readSettings(): Config {
  const result = readConfig(process.env);
  if ("config" in result) return result.config;
  for (const fault of result.faults) console.error(fault);
  process.exit(exitCodes.badSetting);
}

async function start(config: Config, parts: Log): ReturnType<typeof startService> {
  if (config.failpoint !== null) armFailpoint(config.failpoint);
  try {
    return await startService(config, { log: parts });
  } catch (error) {
    const settingError =
      error instanceof SettingError ? error : (listenError(error, config) ?? databaseError(error, config));
    if (settingError === null) {
      parts.fatal({ err: error }, "process.start_failed");
      process.exit(exitCodes.failed);
    }
    console.error(settingError.message);
    process.exit(exitCodes.badSetting);
  }
}

/** What a fault of listening says about PORT or HOST; null where it is none. */
function listenError(error: unknown, { host, port }: Config): SettingError | null {
  if (!(error instanceof Error && "code" in error && "syscall" in error)) return null;
  const isUnresolved = error.syscall === "getaddrinfo" && "hostname" in error && error.hostname === host;
  if (isUnresolved) return new SettingError("HOST", `expected an address of this machine, got ${host}`);
  const code = error.syscall === "listen" ? error.code : null;
  if (code === "EADDRINUSE")
    return new SettingError("PORT", `expected a free port of ${host}, got ${port}, which is in use`);
  if (code === "EACCES") return new SettingError("PORT", `expected a port that this user may listen on, got ${port}`);
  if (code === "EADDRNOTAVAIL") return new SettingError("HOST", `expected an address of this machine, got ${host}`);
  return null;
}

/** What a server's refusal says about DATABASE_URL; null where it is none, and for a server of Lapse's own. */
function databaseError(error: unknown, { databaseUrl }: Config): SettingError | null {
  const refusal = databaseUrl === null ? null : refusalOf(error);
  if (refusal === null) return null;
  return new SettingError("DATABASE_URL", `expected a role and a database that the server takes, got: ${refusal}`);
}

/** Resolves at the first SIGTERM or SIGINT, also one that comes during the start. A later one ends the process at once. */
function listenForStop(parts: Log): Promise<void> {
  let firstAtMs: number | null = null;
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      const nowMs = monotonicMs();
      if (firstAtMs === null) {
        firstAtMs = nowMs;
        parts.info({ signal }, "process.stop_requested");
        resolve();
      } else if (nowMs - firstAtMs > sameSignalMs) {
        parts.warn({ signal }, "process.stop_forced");
        process.exit(exitCodes.failed);
      }
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  });
}

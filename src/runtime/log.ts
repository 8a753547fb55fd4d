// Owns the log: JSON lines on standard error, since the first line of standard output is the address that the service listens on.

import { type Logger, pino } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error" | "fatal">;

/** `level` is one of pino's; `silent` for tests. Secrets never reach a line: they are cut wherever they stand. */
export function createLog(level = "info"): Log {
  return pino(
    {
      level,
      base: { service: "lapse" },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: [
        "authorization",
        "*.authorization",
        "cookie",
        "*.cookie",
        "secret",
        "*.secret",
        "token",
        "*.token",
        "payload",
        "*.payload",
      ],
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

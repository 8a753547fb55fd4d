// Owns the log: JSON lines on standard error, since the first line of standard output is the address that the service listens on.

import { type Logger, pino } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error" | "fatal">;

/** Members whose values no line shows, wherever they stand. */
const secretMembers = ["authorization", "cookie", "set-cookie", "password", "secret", "token", "payload", "url"];

/** `level` is one of pino's; `silent` for tests. Secrets never reach a line: they are cut wherever they stand. */
export function createLog(level = "info"): Log {
  return pino(
    {
      level,
      base: { service: "lapse" },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
      redact: secretMembers.flatMap((name) => [`["${name}"]`, `*["${name}"]`]),
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** SQLSTATE class 22: the server quotes the value that it does not take. */
const quotesItsValue = /^22/;

/**
 * An error as the log shows it. A list of what is shown, not of what is hidden: drivers hang whole rows, clients and requests on their
 * errors (Postgres's `detail` has every column of a row that a constraint refused).
 */
function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const code = "code" in error && typeof error.code === "string" ? error.code : null;
  const isQuoting = code !== null && quotesItsValue.test(code);
  const frames = (error.stack ?? "").split("\n").filter((line) => line.startsWith("    at "));
  return {
    type: error.name === "Error" ? error.constructor.name : error.name,
    message: isQuoting ? error.message.replaceAll(/".*"/gs, '"…"') : error.message,
    ...(code === null ? {} : { code }),
    stack: frames.join("\n"),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
    ...(error instanceof AggregateError ? { errors: error.errors.map(describeError) } : {}),
  };
}

// Owns how a user's crontab (crontab(5)) is read into jobs, and what of it a schedule cannot keep. Pure.

import { isTimeZone } from "../http/times.ts";
import { readPattern } from "../trigger/cron.ts";

export interface CrontabJob {
  /** From 1. */
  readonly line: number;
  readonly expression: string;
  readonly timezone: string;
  readonly command: string;
  /** What follows the first `%`; null where there is none. */
  readonly stdin: string | null;
  /** The assignments above the line. */
  readonly env: Readonly<Record<string, string>>;
}

export interface LineFault {
  readonly line: number;
  /** A whole sentence, without its end. */
  readonly message: string;
}

/** Assignments that say something to cron itself, which no webhook can do. */
const refusedNames: Readonly<Record<string, string>> = {
  MAILTO: "Lapse sends no mail: have the receiver do it, and remove the line or leave it empty",
  MAILFROM: "Lapse sends no mail: have the receiver do it, and remove the line or leave it empty",
  RANDOM_DELAY: "set the schedules' jitter instead, and remove the line",
  TZ: "cron programs differ in whether it moves the times: write CRON_TZ for that, or remove the line",
};

interface Surroundings {
  readonly timezone: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Reads the whole file; every line that cannot be kept is a fault. `timezone` is meant where no CRON_TZ is given. */
export function readCrontabFile(text: string, timezone: string): { jobs: CrontabJob[]; faults: LineFault[] } {
  const jobs: CrontabJob[] = [];
  const faults: LineFault[] = [];
  let surroundings: Surroundings = { timezone, env: {} };
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const written = raw.trim();
    if (written === "" || written.startsWith("#")) continue;
    const assignment = readAssignment(written);
    const read = assignment === null ? readJob(written) : assign(surroundings, assignment);
    if (typeof read === "string") faults.push({ line, message: read });
    else if ("command" in read) jobs.push({ line, ...read, ...surroundings });
    else surroundings = read;
  }
  return { jobs, faults };
}

interface Assignment {
  readonly name: string;
  readonly value: string;
}

function readAssignment(text: string): Assignment | null {
  const match = /^(?:"([^"=]+)"|'([^'=]+)'|([A-Za-z_][A-Za-z0-9_]*))\s*=\s*(.*)$/.exec(text);
  if (match === null) return null;
  const [, double, single, bare, value = ""] = match;
  return { name: double ?? single ?? bare ?? "", value: value.replace(/^(["'])(.*)\1$/, "$2") };
}

/** What holds for the lines below, or why that cannot be kept. */
function assign({ timezone, env }: Surroundings, { name, value }: Assignment): Surroundings | string {
  if (name === "CRON_TZ") {
    return isTimeZone(value) ? { timezone: value, env } : `CRON_TZ: ${JSON.stringify(value)} is no IANA time zone`;
  }
  const refusal = refusedNames[name];
  if (refusal === undefined) return { timezone, env: { ...env, [name]: value } };
  return value === "" ? { timezone, env } : `${name}: ${refusal}`;
}

type ReadJob = Pick<CrontabJob, "expression" | "command" | "stdin">;

function readJob(text: string): ReadJob | string {
  const match = /^(@\S+|(?:\S+\s+){4}\S+)\s+(\S.*)$/.exec(text);
  if (match === null) return "it is neither an assignment nor five fields (or an @ name) and a command";
  const [, times = "", rest = ""] = match;
  const expression = times.split(/\s+/).join(" ");
  if (expression.toLowerCase() === "@reboot") return "@reboot: no time of day can be told from it";
  const fault = patternFault(expression);
  return fault ?? { expression, ...splitInput(rest) };
}

function patternFault(expression: string): string | null {
  const read = readPattern({ dialect: "crontab", expression });
  if ("faults" in read) return read.faults.map(({ message }) => message).join("; ");
  const [, , dayOfMonth = "*", , dayOfWeek = "*"] = expression.split(" ");
  const isStepped = (field: string) => field !== "*" && field.startsWith("*");
  // Vixie's cron takes `*/2` for unrestricted here, and then both days must match.
  if (dayOfMonth !== "*" && dayOfWeek !== "*" && (isStepped(dayOfMonth) || isStepped(dayOfWeek)))
    return "a day field that begins with * stands beside a restricted one: cron fires where both match, Lapse where either does";
  return null;
}

/** crontab(5): an unescaped `%` is a newline, and all after the first is the command's standard input. `\%` is a `%`. */
function splitInput(text: string): Pick<CrontabJob, "command" | "stdin"> {
  const [command = "", ...input] = text.split(/(?<!\\)%/).map((part) => part.replaceAll("\\%", "%"));
  return { command: command.trimEnd(), stdin: input.length === 0 ? null : input.join("\n") };
}

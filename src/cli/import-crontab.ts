// Owns `lapse import-crontab`: each job of a crontab becomes a schedule of a running Lapse, all of them or none.

import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isTimeZone } from "../http/times.ts";
import { nextOccurrence } from "../trigger/trigger.ts";
import { type CrontabJob, type LineFault, readCrontabFile } from "./crontab-file.ts";
import { detailOf } from "./problem-text.ts";

export interface ImportOptions {
  /** Where the schedules' calls go. */
  readonly url: string;
  readonly timezone: string;
  readonly queue?: string;
  readonly namePrefix: string;
  readonly skip: boolean;
  readonly dryRun: boolean;
}

/** The API's answers that the import goes by. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface ImportParts {
  readonly call: (method: "POST" | "DELETE", path: string, body?: object) => Promise<Answer>;
  readonly now: number;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
}

const fileBytesMax = 1024 * 1024;
const slugCharsMax = 40;
const hashChars = 10;

/**
 * Imports a file; false where something was refused. Unless `skip` is given, nothing is made then: what was made before Lapse refused
 * a line is deleted again. A job's name comes from what its line says, so that the same line again changes its schedule in place.
 */
export async function importCrontab(file: string, options: ImportOptions, parts: ImportParts): Promise<boolean> {
  if (!isTimeZone(options.timezone)) throw new Error(`--timezone: ${options.timezone} is no IANA time zone`);
  if (statSync(file).size > fileBytesMax) throw new Error(`${file} is larger than ${fileBytesMax} bytes`);
  const { jobs, faults } = readCrontabFile(readFileSync(file, "utf8"), options.timezone);
  const schedules = new Map<string, CrontabJob>();
  for (const job of jobs) {
    const name = nameOf(job, options.namePrefix);
    const fault = jobFault(job, schedules.get(name), parts.now);
    if (fault === null) schedules.set(name, job);
    else faults.push(fault);
  }
  faults.sort((one, other) => one.line - other.line);
  for (const { line, message } of faults) parts.complain(`${file}:${line}: ${message}`);
  if (faults.length > 0 && !options.skip) {
    parts.complain(`nothing was imported: remove or change these lines, or pass --skip to import the others`);
    return false;
  }
  const requests = [...schedules].map(([name, job]) => ({ job, body: scheduleOf(name, job, options) }));
  if (options.dryRun) {
    for (const { body } of requests) parts.print(JSON.stringify(body));
    return faults.length === 0;
  }
  return (await makeAll(file, requests, parts)) && faults.length === 0;
}

function jobFault(job: CrontabJob, same: CrontabJob | undefined, now: number): LineFault | null {
  const { line, expression, timezone } = job;
  if (same !== undefined) return { line, message: `it is the same as line ${same.line}` };
  const trigger = { type: "cron", dialect: "crontab", expression, timezone, startAt: null, endAt: null } as const;
  return nextOccurrence(trigger, now) === null ? { line, message: `${expression}: this never occurs` } : null;
}

/** Of the command a few letters for people, and a hash of all that the line means. */
function nameOf({ expression, timezone, command, stdin }: CrontabJob, prefix: string): string {
  const slug = command.replaceAll(/[^A-Za-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
  const hash = createHash("sha256").update(JSON.stringify([expression, timezone, command, stdin]));
  return `${prefix}${slug.slice(0, slugCharsMax)}-${hash.digest("hex").slice(0, hashChars)}`;
}

function scheduleOf(name: string, job: CrontabJob, { url, queue }: ImportOptions): object {
  const { expression, timezone, command, stdin, env } = job;
  return {
    name,
    url,
    ...(queue === undefined ? {} : { queue }),
    trigger: { type: "cron", expression, timezone },
    payload: { command, ...(stdin === null ? {} : { stdin }), ...(Object.keys(env).length === 0 ? {} : { env }) },
    onConflict: "replace",
  };
}

interface Request {
  readonly job: CrontabJob;
  readonly body: object;
}

async function makeAll(file: string, requests: readonly Request[], parts: ImportParts): Promise<boolean> {
  const made: string[] = [];
  let changedCount = 0;
  for (const { job, body } of requests) {
    const answer = await parts.call("POST", "/v1/schedules", body).catch(unanswered);
    if (answer.status !== 200 && answer.status !== 201) {
      parts.complain(`${file}:${job.line}: ${said(answer)}`);
      await undo({ made, changedCount }, parts);
      return false;
    }
    const { id, name } = answer.body as { id: string; name: string };
    const isNew = answer.status === 201;
    if (isNew) made.push(id);
    else changedCount += 1;
    const did = isNew ? "made" : "stood already, and is as the line says";
    parts.print(`line ${job.line}: ${name} (${job.expression}, ${job.timezone}) ${did}`);
  }
  return true;
}

/** What was changed in place stays: it is what the file says. */
async function undo(done: { made: readonly string[]; changedCount: number }, parts: ImportParts): Promise<void> {
  for (const id of done.made) {
    const answer = await parts.call("DELETE", `/v1/schedules/${id}`).catch(unanswered);
    if (answer.status >= 300) parts.complain(`the schedule ${id} was made and could not be deleted: ${said(answer)}`);
  }
  const changed = done.changedCount === 0 ? "" : `, but ${done.changedCount} that stood already are as their lines say`;
  parts.complain(`the import was given up: what it made is deleted again${changed}. Importing once more is safe`);
}

function unanswered(error: unknown): Answer {
  return { status: 0, body: { detail: error instanceof Error ? error.message : String(error) } };
}

function said({ status, body }: Answer): string {
  return status === 0 ? detailOf(body) : `Lapse answered ${status}: ${detailOf(body)}`;
}

// Owns triggers as tests write them, and their occurrences as texts.

import type { CronTrigger } from "../../src/trigger/cron.ts";
import type { CronFields } from "../../src/trigger/cron-pattern.ts";
import { occurrencesAfter, type Trigger } from "../../src/trigger/trigger.ts";

type CronChoices = Partial<Pick<CronTrigger, "timezone" | "gap" | "overlap" | "startAt" | "endAt">>;

const unbounded = { timezone: "UTC", startAt: null, endAt: null };

export function crontab(expression: string, choices: CronChoices = {}): CronTrigger {
  return { type: "cron", dialect: "crontab", expression, ...unbounded, ...choices };
}

export function apscheduler(fields: CronFields, choices: CronChoices = {}): CronTrigger {
  return { type: "cron", dialect: "apscheduler", fields, ...unbounded, ...choices };
}

export function instant(text: string): number {
  return Date.parse(text);
}

/** The first `count` occurrences later than `after`, in UTC to the second. */
export function occurrences(trigger: Trigger, after: string, count: number): string[] {
  const found: string[] = [];
  for (const at of occurrencesAfter(trigger, instant(after))) {
    found.push(new Date(at).toISOString().replace(".000Z", "Z"));
    if (found.length === count) break;
  }
  return found;
}

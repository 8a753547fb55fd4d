// Owns what the soak says at its end.

import type { Verdict } from "../../test/fault/run-plan.ts";

/** For people: what was done, how late tasks were, what was called twice, and what was broken. */
export function report({
  violations,
  taskCount,
  callCount,
  requestCount,
  faults,
  stalledMs,
  answers,
  tally,
}: Verdict): string {
  const { lateness, duplicates, unexcusedMsMax } = tally;
  const phases = Object.entries(lateness).map(
    ([phase, { count, p50, p99, max }]) =>
      `  ${phase.padEnd(12)} ${String(count).padStart(7)} attempts, p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`,
  );
  const kept =
    violations.length === 0 ? ["every promise was kept"] : [`${violations.length} violations:`, ...violations];
  return [
    "",
    `${taskCount} tasks, ${callCount} calls of callers, ${requestCount} requests at the receivers`,
    `faults: ${listed(faults)}`,
    `calls without an answer or with a 5xx: ${answers.failedCount}; p99 of answers ${answers.p99Ms} ms`,
    "lateness, whatever held tasks back:",
    ...phases,
    `the most that was not held back by what the promises allow: ${Math.round(unexcusedMsMax)} ms; the machine stood still for ${stalledMs} ms`,
    `calls made again although one may have been acted on: ${listed(duplicates)}`,
    ...kept,
  ].join("\n");
}

function listed(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return entries.length === 0 ? "none" : entries.join(", ");
}

// Owns the table at the end.

import { styleText } from "node:util";
import { isBothOrNeither } from "./check.ts";
import type { Evidence } from "./evidence.ts";

const nameWidth = 50;
const numberWidth = 10;
const faultsShownMax = 20;

/** The table, and the faults if there are any. */
export function renderReport(evidence: Evidence, faults: readonly string[], out: NodeJS.WriteStream): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
    styleText(style, text, { stream: out });
  const { orders, visits, calls, tasks, latenessMs } = evidence;
  const paid = orders.filter(({ paidAt }) => paidAt !== null);
  const lapsed = orders.filter(({ lapsedAt }) => lapsedAt !== null);
  const races = visits.filter(({ plan }) => plan === "last-moment");
  const inFlight = paid.filter(({ taskId }) => (tasks.get(taskId)?.attempts ?? 0) > 0);
  const arrivals = calls.filter(({ taskId, attempt }) => attempt === 1 && tasks.has(taskId));
  const bothOrNeither = orders.filter(isBothOrNeither).length;

  const lines = [
    row("orders placed", orders.length),
    row("  paid, and their task cancelled by key", paid.length),
    row("  lapsed: fired, and cancelled by the shop", lapsed.length),
    paint(bothOrNeither === 0 ? ["bold", "green"] : ["bold", "red"], row("  both or neither", bothOrNeither)),
    "",
    row("payments at the last moment", races.length),
    row("  in time: paid", races.filter(({ payment }) => payment === "paid").length),
    row("    with the webhook in flight: confirm refused", inFlight.length),
    row("  too late: refunded", races.filter(({ payment }) => payment === "refunded").length),
    "",
    row("answers to webhooks that were lost on the way", calls.filter(({ isAnswerLost }) => isAnswerLost).length),
    row("  repeats that were dropped by webhook-id", calls.filter(({ attempt }) => attempt > 1).length),
    row("forged webhooks refused", evidence.forgeryStatus === 401 ? 1 : 0),
    "",
    paint("bold", row("lateness", "p50", "p99", "max")),
    latenessRow(
      "  as the shop saw it",
      arrivals.map(({ arrivedAt, dueAt }) => arrivedAt - dueAt),
    ),
    latenessRow("  as the attempts' rows have it", latenessMs),
    "",
    ...renderVerdict(faults).map((line) => paint(faults.length === 0 ? "green" : "red", line)),
  ];
  return lines.join("\n");
}

function renderVerdict(faults: readonly string[]): string[] {
  if (faults.length === 0) return ["Every order was either paid or lapsed, and Lapse's own books balance."];
  const more = faults.length - faultsShownMax;
  return [
    `${faults.length} things are not as they should be:`,
    ...faults.slice(0, faultsShownMax).map((fault) => `  ${fault}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

function row(name: string, ...values: readonly (number | string)[]): string {
  return name.padEnd(nameWidth) + values.map((value) => String(value).padStart(numberWidth)).join("");
}

function latenessRow(name: string, valuesMs: readonly number[]): string {
  const sorted = valuesMs.toSorted((a, b) => a - b);
  const shares = [0.5, 0.99, 1];
  return row(name, ...shares.map((share) => `${percentile(sorted, share) ?? "-"} ms`));
}

/** The least value that at least this share of all does not exceed. */
function percentile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

// Owns telling a task's whole story: every call, answer, request, row and attempt, in the order of time.

import type { Fault, HeldAttempt, HeldTask, Seen, Span, Told, View } from "./history.ts";
import { callsOn } from "./told.ts";

interface Line {
  readonly at: number;
  readonly text: string;
}

/** Of all tasks that show the fault, each line with its ms since the first. */
export function tellStory(view: View, { ids }: Fault): string {
  return ids.map((id) => `\n  ${id}${storyOf(view, id)}`).join("");
}

function storyOf(view: View, id: string): string {
  const showing = view.toldOf.get(id) ?? [];
  const labels = new Set(showing.flatMap(({ label }) => label ?? []));
  const repeats = view.told.filter(({ label }) => label !== undefined && labels.has(label));
  const calls = new Set([...showing, ...callsOn(view, id), ...repeats]);
  const lines = [
    ...[...calls].flatMap(callLines),
    ...(view.seenOf.get(id) ?? []).flatMap(requestLines),
    ...(view.attemptsOf.get(id) ?? []).flatMap(attemptLines),
    ...rowLines(view.taskOf.get(id)),
  ].toSorted((one, other) => one.at - other.at);
  const from = lines[0]?.at ?? 0;
  const around = aroundLines(view, { from: from - 1_000, to: (lines.at(-1)?.at ?? 0) + 1_000 });
  return [...lines, ...around]
    .toSorted((one, other) => one.at - other.at)
    .map(({ at, text }) => `\n    ${(at - from).toFixed(1).padStart(9)} ms  ${text}`)
    .join("");
}

function callLines(told: Told): Line[] {
  const { call, action, name, status, task, askedAt, answeredAt, delayMs, idempotencyKey, attempt, label } = told;
  const details = [
    action,
    name,
    delayMs === undefined ? undefined : `in ${delayMs} ms`,
    idempotencyKey === undefined ? undefined : `Idempotency-Key ${idempotencyKey}`,
    attempt === undefined ? undefined : `attempt ${attempt}`,
    label,
  ];
  const asked = [call, ...details.filter((detail) => detail !== undefined && detail !== null)].join(" ");
  const shown =
    task === null
      ? ""
      : ` ${task.id} ${task.state}, ${task.attempts} attempts, version ${task.version}, next ${new Date(task.nextAttemptAt || 0).toISOString()}`;
  return [
    { at: askedAt, text: `asked: ${asked}` },
    { at: answeredAt, text: status === null ? `no answer: ${asked}` : `told: ${asked}: ${status}${shown}` },
  ];
}

function requestLines({ attempt, arrivedAt, dueAt, said }: Seen): Line[] {
  const arrived = { at: arrivedAt, text: `seen: attempt ${attempt}, due ${new Date(dueAt).toISOString()}` };
  if (said === undefined || said === null) return [arrived];
  const again = said.rescheduleMs === null ? "" : `, again in ${said.rescheduleMs} ms`;
  return [arrived, { at: said.at, text: `said: attempt ${attempt}, ${said.status ?? "nothing whole"}${again}` }];
}

function attemptLines({ number, startedAt, finishedAt, outcome, status }: HeldAttempt): Line[] {
  return [
    { at: startedAt, text: `row: attempt ${number} started` },
    { at: finishedAt, text: `row: attempt ${number} ${outcome}${status === null ? "" : ` ${status}`}` },
  ];
}

function rowLines(task: HeldTask | undefined): Line[] {
  if (task === undefined) return [];
  const { queue, key, state, dueAt, finishedAt, attempts, attemptsBefore, delivery, version } = task;
  const text = `row: ${state}, due ${new Date(dueAt).toISOString()}, ${attempts} attempts (${attemptsBefore} before), ${delivery}, version ${version}, queue ${queue}, key ${key}`;
  return [{ at: finishedAt ?? dueAt, text }];
}

/** What happened to the world meanwhile. */
function aroundLines({ bounds }: View, { from, to }: Span): Line[] {
  const { happenings = [], deaths = [], outages = [], stalls = [] } = bounds;
  const spans = [
    ...happenings.map((span) => ({ ...span, text: span.what })),
    ...outages.map((span) => ({
      ...span,
      text: `nothing${span.queue === undefined ? "" : ` of ${span.queue}`} can fire`,
    })),
    ...deaths.map(({ at, until, takenOverBy, how }) => ({
      from: at,
      to: until,
      text: `a dispatcher was ${how}, to be taken over by ${new Date(takenOverBy).toISOString()}`,
    })),
    ...stalls.map((span) => ({ ...span, text: "the machine stood still" })),
  ];
  return spans
    .filter((span) => span.from <= to && span.to >= from)
    .map((span) => ({ at: span.from, text: `-- ${span.text}, for ${Math.round(span.to - span.from)} ms` }));
}

// Owns the failpoints: a name between each two steps of what happens to a task, at which a test can make the process die as by kill -9.

import { writeSync } from "node:fs";

/** Each is passed by one call of `failpoint`; test/fault/failpoints.test.ts dies at every one of them. */
export const failpointNames = [
  "accept.arrived",
  "accept.sent",
  "accept.committed",
  "accept.inserted",
  "accept.met",
  "accept.replaced",
  "accept.reserved",
  "accept.answer_kept",
  "accept.once_committed",
  "cancel.asked",
  "cancel.committed",
  "cancel.passed_over",
  "cancel.all_written",
  "cancel.all_committed",
  "cancel.tombstones_made",
  "confirm.granted",
  "confirm.declined",
  "confirm.refused",
  "index.unfed",
  "index.fed",
  "flush.begun",
  "flush.sent",
  "claim.taken",
  "claim.sent",
  "claim.committed",
  "claim.missed",
  "claim.judged",
  "claim.not_won",
  "claim.won",
  "fire.begun",
  "fire.connected",
  "fire.answering",
  "fire.called",
  "settle.decided",
  "settle.sent",
  "settle.committed",
  "settle.indexed",
  "heal.read",
  "heal.entered",
  "heal.handed",
  "heal.stray_found",
  "fill.begun",
  "fill.entered",
  "define.stored",
  "define.changed",
  "schedule.locked",
  "schedule.made",
  "schedule.moved",
  "schedule.committed",
  "schedule.told",
  "takeover.declared",
  "takeover.recorded",
  "takeover.reassigned",
  "takeover.shares_moved",
  "takeover.committed",
  "takeover.fired",
] as const;
export type Failpoint = (typeof failpointNames)[number];

export interface ArmedFailpoint {
  readonly name: Failpoint;
  /** The how-manieth pass is deadly, from 1. */
  readonly pass: number;
}

const standardError = 2;

/** Of the process, as its death is: set once at start. */
let armed: ArmedFailpoint | null = null;
let passes = 0;

/** Arms one, before the service starts. */
export function armFailpoint(wanted: ArmedFailpoint): void {
  armed = wanted;
}

/** Dies here where this failpoint is armed; else costs a comparison. */
export function failpoint(name: Failpoint): void {
  if (armed?.name !== name) return;
  passes += 1;
  if (passes < armed.pass) return;
  // Written at once, past the log's own buffers: nothing else of this process gets out any more.
  writeSync(standardError, `failpoint.reached ${name}\n`);
  process.kill(process.pid, "SIGKILL");
}

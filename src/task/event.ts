// Owns what an event is: its types. Pure: no I/O and no clock.

const eventTypes = [
  "task.created",
  "task.cancelled",
  "task.rescheduled",
  "task.started",
  "task.succeeded",
  "task.attempt-failed",
  "task.failed",
  "task.missed",
  "task.paused",
  "task.resumed",
  "schedule.max-instances",
  "schedule.ended",
  "queue.paused",
  "queue.resumed",
  "origin.parked",
  "origin.resumed",
] as const;
export type EventType = (typeof eventTypes)[number];

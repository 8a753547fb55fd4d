// Owns what can be measured from outside: one registry, every metric declared once. Labels are queues, outcomes and status classes, never
// ids, keys or URLs.

import { monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";
import type { AttemptOutcome } from "../task/task.ts";

const latenessBucketsMs = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 2_000, 5_000, 15_000, 60_000];
const durationBucketsMs = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
const eventLoopResolutionMs = 10;
/** Queues that have series of their own: callers may make any number of queues, and each series is kept for good. The others share one. */
const queuesLabelledMax = 200;
const otherQueues = "(other)";

export interface AttemptMeasured {
  readonly queue: string;
  readonly outcome: AttemptOutcome;
  readonly latenessMs: number;
  readonly durationMs: number;
  readonly isFirst: boolean;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #registers = { registers: [this.#registry] };
  readonly #queues = new Set<string>();
  readonly #attempts = new Counter({
    name: "lapse_attempts_total",
    help: "Attempts settled, by outcome.",
    labelNames: ["queue", "outcome"],
    ...this.#registers,
  });
  readonly #lateness = new Histogram({
    name: "lapse_lateness_ms",
    help: "Start of a task's first attempt minus its due time.",
    labelNames: ["queue"],
    buckets: latenessBucketsMs,
    ...this.#registers,
  });
  readonly #durations = new Histogram({
    name: "lapse_attempt_duration_ms",
    help: "Time from the start of an attempt to the end of its answer.",
    labelNames: ["queue"],
    buckets: durationBucketsMs,
    ...this.#registers,
  });
  readonly #requests = new Histogram({
    name: "lapse_http_request_duration_ms",
    help: "Time to answer an API request.",
    labelNames: ["route", "method", "status"],
    buckets: durationBucketsMs,
    ...this.#registers,
  });
  readonly #events = new Counter({
    name: "lapse_internal_events_total",
    help: "What went otherwise than on the usual way: superseded settles, lost attempts taken over, withheld sends, healed entries, index switches, origins parked, rate limits that were spent.",
    labelNames: ["event"],
    ...this.#registers,
  });
  readonly #inFlight = new Gauge({
    name: "lapse_attempts_in_flight",
    help: "Attempts claimed and not yet settled.",
    ...this.#registers,
  });
  readonly #indexInUse = new Gauge({
    name: "lapse_redis_index_in_use",
    help: "1 while due times come from Redis, 0 while from Postgres.",
    ...this.#registers,
  });
  readonly #originsParked = new Gauge({
    name: "lapse_origins_parked",
    help: "Origins that do not answer and are only probed.",
    ...this.#registers,
  });
  readonly #eventStreams = new Gauge({
    name: "lapse_event_streams",
    help: "Open streams of GET /v1/events.",
    ...this.#registers,
  });
  readonly #eventsHeld = new Gauge({
    name: "lapse_events_held_ms",
    help: "How long the oldest event has waited for a transaction that is open still, as the streams or the subscriptions last saw it.",
    ...this.#registers,
  });

  readonly #occurrences = new Counter({
    name: "lapse_schedule_occurrences_total",
    help: "Tasks that schedules brought forth.",
    ...this.#registers,
  });
  readonly #schedulesBehind = new Gauge({
    name: "lapse_schedules_behind",
    help: "Schedules whose next task was made less than 10 s ahead, or late, at this process's last look.",
    ...this.#registers,
  });
  readonly #queuesPaused = new Gauge({
    name: "lapse_queues_paused",
    help: "Queues that accept tasks and fire none.",
    ...this.#registers,
  });
  readonly #eventLoop = monitorEventLoopDelay({ resolution: eventLoopResolutionMs });
  readonly #eventLoopDelay = new Gauge({
    name: "lapse_event_loop_delay_p99_ms",
    help: "99th percentile of the event loop's delay since the last reading.",
    ...this.#registers,
  });

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.#eventLoop.enable();
  }

  attemptSettled({ queue: name, outcome, latenessMs, durationMs, isFirst }: AttemptMeasured): void {
    const queue = this.#queueLabel(name);
    this.#attempts.inc({ queue, outcome });
    if (isFirst) this.#lateness.observe({ queue }, latenessMs);
    this.#durations.observe({ queue }, durationMs);
  }

  #queueLabel(name: string): string {
    if (this.#queues.size < queuesLabelledMax) this.#queues.add(name);
    return this.#queues.has(name) ? name : otherQueues;
  }

  httpRequest(labels: { route: string; method: string; status: number }, durationMs: number): void {
    this.#requests.observe({ ...labels, status: `${Math.floor(labels.status / 100)}xx` }, durationMs);
  }

  /** Counts what went otherwise than on the usual way. */
  event(event: InternalEvent, count = 1): void {
    if (count > 0) this.#events.inc({ event }, count);
  }

  setInFlight(count: number): void {
    this.#inFlight.set(count);
  }

  setRedisInUse(inUse: boolean): void {
    this.#indexInUse.set(inUse ? 1 : 0);
  }

  setQueuesPaused(count: number): void {
    this.#queuesPaused.set(count);
  }

  setOriginsParked(count: number): void {
    this.#originsParked.set(count);
  }

  setEventStreams(count: number): void {
    this.#eventStreams.set(count);
  }

  setEventsHeld(ms: number): void {
    this.#eventsHeld.set(ms);
  }

  occurrencesMade(count: number): void {
    this.#occurrences.inc(count);
  }

  setSchedulesBehind(count: number): void {
    this.#schedulesBehind.set(count);
  }

  /** The metrics in Prometheus' text format. */
  async text(): Promise<{ contentType: string; body: string }> {
    this.#eventLoopDelay.set(Math.max(0, this.#eventLoop.percentile(99) / 1e6 - eventLoopResolutionMs));
    this.#eventLoop.reset();
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }
}

export type InternalEvent =
  | "settle.superseded"
  | "settle.retried"
  | "send.withheld"
  | "attempt.lost"
  | "claim.adopted"
  | "due.healed"
  | "index.switched"
  | "lease.lost"
  | "origin.parked"
  | "origin.resumed"
  | "task.deferred"
  | "rate.spent"
  | "events.reader_cut_off"
  | "events.dropped"
  | "schedule.max_instances"
  | "schedule.set_aside";

// Owns one Lapse process of a fault world, with a network of its own to each server, and the record of when it could work.

import { setTimeout as sleep } from "node:timers/promises";
import { faketimeEnv } from "../../scripts/setup/test-tools.ts";
import { type LapseProcess, startLapse } from "../support/process.ts";
import type { Span } from "./history.ts";
import { hostNow } from "./host-clock.ts";
import { type FaultProxy, startProxy } from "./proxy.ts";

export type Clock = "right" | "ahead" | "behind";

const clockOffsets = { right: null, ahead: "+1h", behind: "-1h" } as const;
const logLinesKept = 400;
const shownLines = 20;
const startMsMax = 60_000;
const restartMs = 250;
/** Calls in flight have 30 s, and their outcomes some more. */
const drainMsMax = 60_000;

/** Why it was away, from a dispatcher's tasks' point of view. */
export interface Absence extends Span {
  readonly how: "killed" | "stopped" | "drained" | "cut off";
}

export interface FailedDrain extends Span {
  /** Null: it was killed. */
  readonly code: number | null;
  /** The end of its log. */
  readonly lines: readonly string[];
}

export interface MemberOptions {
  readonly name: string;
  readonly role: "api" | "dispatcher";
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** Another checkout to run. */
  readonly folder?: string;
}

export class Member {
  readonly name: string;
  readonly role: "api" | "dispatcher";
  readonly postgres: FaultProxy;
  readonly redis: FaultProxy;
  /** Until when it was able to work, and from when again; open where it still is not. */
  readonly absences: Absence[] = [];
  readonly #lines: string[] = [];
  /** Each time a process ended although nobody ended it. */
  readonly crashes: string[] = [];
  /** Drains that did not end with exit code 0. */
  readonly failedDrains: FailedDrain[] = [];
  readonly #options: MemberOptions;
  #process: LapseProcess | null = null;
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: MemberOptions, proxies: { postgres: FaultProxy; redis: FaultProxy }) {
    this.#options = options;
    this.name = options.name;
    this.role = options.role;
    this.postgres = proxies.postgres;
    this.redis = proxies.redis;
  }

  static async create(options: MemberOptions): Promise<Member> {
    const [postgres, redis] = await Promise.all([
      startProxy(portOf(options.databaseUrl), "postgres"),
      startProxy(portOf(options.redisUrl), "redis"),
    ]);
    return new Member(options, { postgres, redis });
  }

  /** Of its API; nobody listens there while it is down. */
  get url(): string {
    return this.#process?.url ?? "http://127.0.0.1:1";
  }

  /** The end of the logs of all its processes so far. */
  get lines(): readonly string[] {
    return [...this.#lines, ...(this.#process?.lines ?? [])];
  }

  /** As a supervisor does: again where it ends before it listens, since a server is away. */
  async start(clock: Clock = "right"): Promise<void> {
    const deadlineMs = performance.now() + startMsMax;
    for (;;) {
      try {
        const started = await this.#startOnce(clock);
        this.#process = started;
        void this.#noteCrash(started);
        return;
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
        await sleep(restartMs);
      }
    }
  }

  /**
   * Does `work` while the process is down or cut off; it can work again when that is done. What ends and starts the process waits for its
   * turn: a supervisor does not start a second one beside one that still drains.
   */
  away(how: Absence["how"], work: () => Promise<void>): Promise<void> {
    if (how === "stopped" || how === "cut off") return this.#away(how, work);
    const turn = this.#turn.then(() => this.#away(how, work));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #away(how: Absence["how"], work: () => Promise<void>): Promise<void> {
    const from = hostNow();
    try {
      await work();
    } finally {
      this.absences.push({ from, to: hostNow(), how });
    }
  }

  async kill(): Promise<void> {
    await this.#letGo()?.end();
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Resolves once the process has drained and ended; one that takes far too long is killed. */
  async drain(): Promise<void> {
    const from = hostNow();
    const draining = this.#letGo();
    if (draining === null) return;
    draining.kill("SIGTERM");
    const late = setTimeout(() => draining.kill("SIGKILL"), drainMsMax);
    const { code } = await draining.exited;
    clearTimeout(late);
    const lines = draining.lines.slice(-shownLines);
    if (code !== 0) this.failedDrains.push({ from, to: hostNow(), code, lines });
  }

  /** What its process counted, by name; null where it does not answer. */
  async metrics(): Promise<string | null> {
    return fetch(`${this.url}/metrics`).then(
      (answer) => answer.text(),
      () => null,
    );
  }

  async close(): Promise<void> {
    await this.kill();
    await Promise.all([this.postgres.close(), this.redis.close()]);
  }

  #startOnce(clock: Clock): Promise<LapseProcess> {
    const { databaseUrl, redisUrl, role, folder } = this.#options;
    const offset = clockOffsets[clock];
    return startLapse({
      env: {
        DATABASE_URL: withPort(databaseUrl, this.postgres.port),
        REDIS_URL: withPort(redisUrl, this.redis.port),
        LAPSE_ROLE: role,
        LAPSE_ALLOW_PRIVATE_TARGETS: "true",
        ...(offset === null ? {} : faketimeEnv(offset)),
      },
      ...(folder === undefined ? {} : { folder }),
    });
  }

  async #noteCrash(started: LapseProcess): Promise<void> {
    const { code, signal } = await started.exited;
    if (this.#process === started) this.crashes.push(`${this.name} ended by itself: ${code ?? signal}`);
  }

  /** From here on its end is our doing. */
  #letGo(): LapseProcess | null {
    const ended = this.#process;
    this.#process = null;
    this.#lines.push(...(ended?.lines ?? []).slice(-logLinesKept));
    return ended;
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.port = String(port);
  return changed.href;
}

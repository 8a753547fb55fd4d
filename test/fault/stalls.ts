// Owns measuring when the machine itself stood still: processes waited for a processor, or the disk took its time. Nobody's lateness.

import { existsSync, readFileSync } from "node:fs";
import { Client } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { merge } from "./allowance.ts";
import type { Span } from "./history.ts";
import { hostNow } from "./host-clock.ts";

const lookEveryMs = 20;
/** A timer that is this much late, on a process that does little, waited for a processor. */
const lateMsMin = 20;
const commitEveryMs = 250;
/** A commit takes a few ms on any disk that has nothing else to do. */
const commitMsMin = 50;
/** Linux tells for how long some process waited for a processor: for most of a window, and nobody's times mean anything. */
const pressurePath = "/proc/pressure/cpu";
const pressureEveryMs = 250;
const pressureShareMin = 0.8;

/** Watches until `stop`. */
export class Stalls {
  readonly #spans: Span[] = [];
  readonly #databaseUrl: () => string;
  #isStopped = false;
  #commits: Promise<void> | null = null;
  readonly #timers: NodeJS.Timeout[] = [];

  /** `databaseUrl`: of a PostgreSQL that is asked directly, for a commit of nobody's. */
  constructor(databaseUrl: () => string) {
    this.#databaseUrl = databaseUrl;
  }

  /** In order, and none twice. */
  get spans(): Span[] {
    return merge(this.#spans);
  }

  start(): this {
    this.#watchPressure();
    let lookedAt = hostNow();
    const looks = setInterval(() => {
      const now = hostNow();
      const expectedAt = lookedAt + lookEveryMs;
      if (now - expectedAt > lateMsMin) this.#spans.push({ from: expectedAt, to: now });
      lookedAt = now;
    }, lookEveryMs);
    this.#timers.push(looks);
    this.#commits = this.#commit();
    return this;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#commits;
  }

  #watchPressure(): void {
    if (!existsSync(pressurePath)) return;
    let last = { at: hostNow(), waitedMs: readPressureMs() };
    const looks = setInterval(() => {
      const now = { at: hostNow(), waitedMs: readPressureMs() };
      if (now.waitedMs - last.waitedMs >= pressureShareMin * (now.at - last.at))
        this.#spans.push({ from: last.at, to: now.at });
      last = now;
    }, pressureEveryMs);
    this.#timers.push(looks);
  }

  async #commit(): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#commitAt(this.#databaseUrl());
      } catch {
        await sleep(commitEveryMs); // It is away, and the test knows.
      }
    }
  }

  async #commitAt(url: string): Promise<void> {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("create table if not exists public.stall_probe (at timestamptz)");
      while (!this.#isStopped) await this.#commitOnce(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async #commitOnce(client: Client): Promise<void> {
    const from = hostNow();
    await client.query("insert into public.stall_probe values (now())");
    const to = hostNow();
    if (to - from > commitMsMin) this.#spans.push({ from, to });
    await sleep(commitEveryMs);
  }
}

/** `some … total=`: in µs, since the start of the machine. */
function readPressureMs(): number {
  const [, total = "0"] = /some .*total=(\d+)/.exec(readFileSync(pressurePath, "utf8")) ?? [];
  return Number(total) / 1_000;
}

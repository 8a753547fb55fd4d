// Owns finding connections to Postgres that are dead although both ends are open: packets were dropped (a NAT table or a firewall that
// restarted, a server that moved), and no timeout of TCP's own ends them before minutes have passed.

import type { Socket } from "node:net";
import pg from "pg";
import { monotonicMs, sleep, startTimer } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";

/** A call that hears nothing for this long is looked into; a statement that takes its time is asked after again, ever less often. */
const silenceMsMin = 500;
const silenceMsMax = 4_000;
/** The answer may be under way when the server is asked: it is asked twice. */
const askAgainMs = 100;
/** A server that cannot be asked within this is away: that is for the calls' own timeouts. */
const askMsMax = 1_000;

const readStates = "select pid, state from pg_stat_activity where pid = any($1::int[])";
/** Only the server's plain word counts: it may not tell (`track_activities` off), and whoever asks may not be shown. */
const idleStates: ReadonlySet<string> = new Set(["idle", "idle in transaction", "idle in transaction (aborted)"]);

/** What pg has and its types leave out. */
interface Wire {
  readonly connection: { readonly stream: Socket };
  /** Of the session's process at the server. */
  readonly processID: number;
}

interface Watched {
  readonly client: pg.Client & Wire;
  /** Calls that wait for an answer. */
  waiting: number;
  /** Bytes that had come, and when they did or the wait for more began. */
  bytesHeard: number;
  heardAtMs: number;
  /** How much longer it may be silent before it is looked into. */
  silenceMs: number;
  /** False: a pooler stands in between, and its sessions cannot be asked after. Null: not known yet. */
  isDirect: boolean | null;
}

/**
 * Watches the connections of some pools. One that waits in silence while its session at the server does not work on anything, as a fresh
 * connection learns, is cut off, and so are the idle ones beside it: their calls fail as with any lost connection.
 */
export class SilenceWatch {
  readonly #url: string;
  readonly #log: Log;
  readonly #watched = new Set<Watched>();
  #isLooking = false;

  constructor(url: string, log: Log) {
    this.#url = url;
    this.#log = log;
  }

  /** Follows a connection from its beginning to its end. */
  follow(fresh: pg.Client): void {
    const client = fresh as pg.Client & Wire;
    const watched: Watched = {
      client,
      waiting: 0,
      bytesHeard: 0,
      heardAtMs: 0,
      silenceMs: silenceMsMin,
      isDirect: null,
    };
    this.#watched.add(watched);
    client.once("end", () => this.#watched.delete(watched));
    const send = client.query.bind(client) as (...words: unknown[]) => unknown;
    client.query = ((...words: unknown[]) => this.#wait(watched, send(...words))) as typeof client.query;
    void this.#learn(watched);
  }

  /** Ends all that still stand, whatever they wait for. */
  cutAll(): void {
    for (const { client } of this.#watched) cut(client);
  }

  async #learn(watched: Watched): Promise<void> {
    const { client } = watched;
    const answer = await client.query<{ pid: number }>("select pg_backend_pid() as pid").catch(() => null);
    watched.isDirect = answer?.rows[0]?.pid === client.processID;
  }

  #wait(watched: Watched, answer: unknown): unknown {
    if (!(answer instanceof Promise)) return answer;
    if (watched.waiting === 0) listenAnew(watched);
    watched.waiting += 1;
    void answer
      .catch(() => undefined)
      .finally(() => {
        watched.waiting -= 1;
      });
    this.#lookSoon();
    return answer;
  }

  /** Looks go on while anybody waits. */
  #lookSoon(): void {
    if (this.#isLooking || ![...this.#watched].some(({ waiting }) => waiting > 0)) return;
    this.#isLooking = true;
    startTimer(silenceMsMin, () => void this.#look());
  }

  async #look(): Promise<void> {
    const silent = this.#silent();
    if (silent.length > 0) await this.#lookInto(silent).catch(() => undefined);
    this.#isLooking = false;
    this.#lookSoon();
  }

  #silent(): Watched[] {
    return [...this.#watched].filter((watched) => {
      if (watched.waiting === 0 || watched.isDirect === false) return false;
      if (hasHeard(watched)) listenAnew(watched);
      return monotonicMs() - watched.heardAtMs >= watched.silenceMs;
    });
  }

  async #lookInto(silent: readonly Watched[]): Promise<void> {
    const idleAtFirst = await this.#withoutWork(silent);
    if (idleAtFirst.length > 0) await sleep(askAgainMs);
    const dead = idleAtFirst.length === 0 ? [] : await this.#withoutWork(idleAtFirst);
    const isDead = new Set(dead);
    for (const watched of silent)
      if (!isDead.has(watched)) watched.silenceMs = Math.min(2 * watched.silenceMs, silenceMsMax);
    if (dead.length === 0) return;
    const idle = [...this.#watched].filter(({ waiting }) => waiting === 0);
    this.#log.warn({ silent: dead.length, idle: idle.length }, "postgres.connections_dead");
    for (const { client } of [...dead, ...idle]) cut(client);
  }

  /** Those that still wait, have heard nothing, and whose session works on nothing. Rejects where the server cannot be asked. */
  async #withoutWork(silent: readonly Watched[]): Promise<Watched[]> {
    const asking = new pg.Client({
      connectionString: this.#url,
      application_name: "lapse-silence",
      connectionTimeoutMillis: askMsMax,
      query_timeout: askMsMax,
    });
    asking.on("error", () => undefined);
    try {
      await asking.connect();
      const pids = silent.map(({ client }) => client.processID);
      const { rows } = await asking.query<{ pid: number; state: string | null }>(readStates, [pids]);
      const states = new Map(rows.map(({ pid, state }) => [pid, state]));
      return silent.filter((one) => one.waiting > 0 && !hasHeard(one) && isWithoutWork(one, states));
    } finally {
      // A half-open connection never answers a polite goodbye.
      void asking.end().catch(() => undefined);
    }
  }
}

function cut({ connection }: Wire): void {
  connection.stream.destroy(new Error("connection went silent"));
}

/** A session that is gone may only be out of sight behind a pooler, unless it was found to be the server's own. */
function isWithoutWork({ client, isDirect }: Watched, states: ReadonlyMap<number, string | null>): boolean {
  const state = states.get(client.processID);
  return state === undefined ? isDirect === true : state !== null && idleStates.has(state);
}

function hasHeard({ client, bytesHeard }: Watched): boolean {
  return client.connection.stream.bytesRead > bytesHeard;
}

function listenAnew(watched: Watched): void {
  watched.bytesHeard = watched.client.connection.stream.bytesRead;
  watched.heardAtMs = monotonicMs();
  watched.silenceMs = silenceMsMin;
}

// Owns the connections to Redis, one server or a cluster: one for scripts, one for wake-ups. It connects in the background and goes on
// trying for ever; a call while it is away fails at once.

import { readFile } from "node:fs/promises";
import { createClient, createCluster, defineScript } from "redis";
import { startAwakeTimer, startTimer } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";

/** Calls are given up after this, of time in which this process ran; whoever waited goes on with Postgres. */
const callTimeoutMs = 250;
const connectTimeoutMs = 2_000;
const reconnectMsMax = 1_000;
/** A ping each second, and a socket that stays silent for three is dead: half-open connections are found although nobody resets them. */
const pingIntervalMs = 1_000;
const silenceMsMax = 3_000;

/** What the index asks of Redis, the same for a server and a cluster. */
export interface RedisCommands {
  putDue(key: string, args: readonly string[]): Promise<number>;
  takeDue(key: string, args: readonly string[]): Promise<readonly [string, readonly string[]]>;
  beginFill(key: string, args: readonly string[]): Promise<string>;
  endFill(key: string, args: readonly string[]): Promise<number>;
  resetDue(key: string, args: readonly string[]): Promise<number>;
  zAdd(key: string, members: readonly { score: number; value: string }[]): Promise<number>;
  zRem(key: string, members: readonly string[]): Promise<number>;
  /** For scripts of others, which come with their text. */
  eval(script: string, options: { keys: readonly string[]; arguments: readonly string[] }): Promise<unknown>;
}

/** A client of either kind, as far as its lifetime goes. */
interface RedisLifetime {
  readonly isOpen: boolean;
  /** Of a cluster alone. */
  readonly nodeByAddress?: ReadonlyMap<string, { readonly host: string; readonly port: number }>;
  on(event: "error" | "ready" | "end", listener: (error?: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
}

export interface RedisConnectionOptions {
  /** One address, or several nodes of a cluster. */
  readonly urls: readonly string[];
  readonly log: Log;
  /** The channel on which scripts announce new earliest entries. */
  readonly channel: string;
  readonly onWake: (message: string) => void;
}

/** Nobody answered in time, or nobody is there. */
export class RedisUnavailableError extends Error {
  readonly code = "redis_unavailable";

  constructor(message: string, cause?: unknown) {
    super(message, { cause });
  }
}

export class RedisConnection {
  readonly #client: RedisCommands & RedisLifetime;
  readonly #subscriber: RedisLifetime;
  readonly #options: RedisConnectionOptions;
  #closed = false;
  #failing = false;

  private constructor(
    options: RedisConnectionOptions,
    client: RedisCommands & RedisLifetime,
    subscriber: RedisLifetime,
  ) {
    this.#options = options;
    this.#client = client;
    this.#subscriber = subscriber;
  }

  /** Returns at once, connected or not. */
  static async open(options: RedisConnectionOptions): Promise<RedisConnection> {
    const scripts = await loadScripts();
    const connection = new RedisConnection(
      options,
      makeClient(options.urls, scripts),
      makeClient(options.urls, scripts),
    );
    for (const client of [connection.#client, connection.#subscriber]) {
      client.on("error", (error) => connection.#noteFailure(error));
      client.on("ready", () => connection.#noteReady());
    }
    void connection.#keepConnecting(connection.#client);
    void connection.#keepConnecting(connection.#subscriber, async () => {
      await connection.#subscriber.subscribe(options.channel, options.onWake);
    });
    return connection;
  }

  /** The masters that a cluster said it has when it was last asked, also those that no URL names; none of a single server. */
  get nodes(): readonly { readonly host: string; readonly port: number }[] {
    return [...(this.#client.nodeByAddress?.values() ?? [])];
  }

  /** Runs a call, for 250 ms at most. Rejects with `RedisUnavailableError`, also for OOM, READONLY, LOADING and CLUSTERDOWN. */
  async call<T>(work: (client: RedisCommands) => Promise<T>): Promise<T> {
    let timer = null;
    const late = new Promise<never>((_resolve, reject) => {
      timer = startAwakeTimer(callTimeoutMs, () =>
        reject(new RedisUnavailableError(`no answer within ${callTimeoutMs} ms`)),
      );
    });
    try {
      return await Promise.race([work(this.#client), late]);
    } catch (error) {
      throw error instanceof RedisUnavailableError
        ? error
        : new RedisUnavailableError("Redis cannot serve the call", error);
    } finally {
      (timer as { cancel(): void } | null)?.cancel();
    }
  }

  close(): void {
    this.#closed = true;
    for (const client of [this.#client, this.#subscriber]) {
      try {
        client.destroy();
      } catch {
        // It was never open.
      }
    }
  }

  /** The client reconnects by itself once it was connected; the first connection, and a cluster that was never found, are tried again here. */
  async #keepConnecting(client: RedisLifetime, then?: () => Promise<void>): Promise<void> {
    for (let tries = 0; !this.#closed; tries += 1) {
      try {
        if (!client.isOpen) await client.connect();
        await then?.();
        return;
      } catch (error) {
        this.#noteFailure(error);
        await new Promise<void>((resolve) => void startTimer(Math.min(50 * 2 ** tries, reconnectMsMax), resolve));
      }
    }
  }

  #noteFailure(error: unknown): void {
    if (!this.#failing && !this.#closed) this.#options.log.warn({ err: error }, "redis.connection_failed");
    this.#failing = true;
  }

  #noteReady(): void {
    if (this.#failing) this.#options.log.info("redis.connection_restored");
    this.#failing = false;
  }
}

type Scripts = Awaited<ReturnType<typeof loadScripts>>;

async function loadScripts() {
  const [putDue, takeDue, beginFill, endFill, resetDue] = await Promise.all(
    ["put", "take", "begin-fill", "end-fill", "reset"].map(loadScript),
  );
  if (!putDue || !takeDue || !beginFill || !endFill || !resetDue)
    throw new Error("a script of the due index is missing");
  return { putDue, takeDue, beginFill, endFill, resetDue };
}

async function loadScript(name: string) {
  return defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: await readFile(new URL(`./${name}.lua`, import.meta.url), "utf8"),
    parseCommand(
      parser: { pushKey(key: string): void; push(...args: string[]): void },
      key: string,
      args: readonly string[],
    ) {
      parser.pushKey(key);
      parser.push(...args);
    },
    transformReply: (reply: unknown) => reply,
  });
}

function makeClient(urls: readonly string[], scripts: Scripts): RedisCommands & RedisLifetime {
  const socket = {
    connectTimeout: connectTimeoutMs,
    keepAlive: true,
    socketTimeout: silenceMsMax,
    reconnectStrategy: (retries: number) => Math.min(50 * 2 ** retries, reconnectMsMax),
  };
  const settings = {
    RESP: 3,
    socket,
    disableOfflineQueue: true,
    pingInterval: pingIntervalMs,
    maintNotifications: "disabled",
  } as const;
  const [url] = urls;
  const client =
    urls.length === 1 && url !== undefined
      ? createClient({ ...settings, url, scripts })
      : createCluster({ rootNodes: urls.map((node) => ({ url: node })), defaults: settings, scripts, RESP: 3 });
  return client as unknown as RedisCommands & RedisLifetime;
}

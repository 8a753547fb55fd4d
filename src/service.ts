// Owns how the parts are put together, and the order in which they start and stop.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Config, PrivateTargets } from "./config.ts";
import { isLoopback } from "./config/values.ts";
import { Dispatcher, type DispatcherParts } from "./dispatch/dispatcher.ts";
import type { DueEntry } from "./due-index/due-index.ts";
import { EntryFeed } from "./due-index/entry-feed.ts";
import { Events } from "./events/events.ts";
import type { SwitchingIndex } from "./due-index/switching-index.ts";
import { createApp } from "./http/app.ts";
import type { ApiParts, Readiness } from "./http/parts.ts";
import { type HttpServer, listen } from "./http/server.ts";
import { ApiKeys } from "./intake/api-keys.ts";
import { Intake } from "./intake/intake.ts";
import { Queues } from "./intake/queues.ts";
import { Schedules } from "./intake/schedules.ts";
import { Maintenance } from "./maintenance.ts";
import { RateLimiter } from "./rate-limit/rate-limiter.ts";
import { Clock, sleep } from "./runtime/clock.ts";
import type { Log } from "./runtime/log.ts";
import { Metrics } from "./runtime/metrics.ts";
import { Turns } from "./runtime/turns.ts";
import { Producer } from "./schedule/producer.ts";
import { type OpenIndex, openIndex, type Wakes } from "./open-index.ts";
import { type Servers, startServers } from "./servers.ts";
import { readAudit } from "./store/audit.ts";
import { coalesceMissed, countHeld, holdOverdue, rampOverdue } from "./store/catch-up.ts";
import { Database } from "./store/database.ts";
import { readTime } from "./store/due.ts";
import { listTasks } from "./store/listing.ts";
import { isMigrated, migrate } from "./store/migrate.ts";
import { declareAllDead } from "./store/owners.ts";
import { KnownQueues } from "./store/queues.ts";
import { serverOf } from "./store/pool.ts";
import { TaskReader } from "./store/reads.ts";
import { readSetting } from "./store/settings.ts";
import { AddressGuard, type PrivateTargets as GuardTargets } from "./webhook/address-guard.ts";
import { createConfirmTokens } from "./webhook/confirm-token.ts";
import { checkHeaders } from "./webhook/header-rules.ts";
import { OwnEndpoints } from "./webhook/own-endpoints.ts";
import { Sender } from "./webhook/sender.ts";
import { createSigningSecret, parseSigningSecrets } from "./webhook/signing.ts";

const confirmKeyBytes = 32;
/** What a URL without a port means. */
const [httpPort, redisPort] = [80, 6379];
/** For what is under way beside the calls: with Postgres silent, a round of removals would take far longer. */
const endMsMax = 10_000;
/** One of a hundred million tasks goes on for a minute or two: the others wait, without a connection. */
const auditsTogetherMax = 1;
const exitCodes = { drained: 0, outcomesUnwritten: 1 } as const;

export interface Service {
  /** Where it listens. */
  readonly url: string;
  /** Drains and stops; resolves to the exit code: 0, or 1 where outcomes could not be written. */
  stop(): Promise<number>;
}

/** Starts what the role asks for: servers of its own where none are given, the schema, the index, the dispatcher, the API. */
export async function startService(config: Config, { log }: { log: Log }): Promise<Service> {
  const servers = await startServers(config, log);
  try {
    return await startParts(config, servers, log);
  } catch (error) {
    await servers.stop();
    throw error;
  }
}

async function startParts(config: Config, servers: Servers, log: Log): Promise<Service> {
  await migrate(servers.databaseUrl);
  const database = new Database(servers.databaseUrl, log);
  const clock = new Clock();
  await clock.settle(() => readTime(database));
  const metrics = new Metrics();
  if (servers.isDatabaseOwned) await database.query(declareAllDead);
  await holdBack(config, database, log);

  const secrets = await readSecrets(config, database);
  const wakes: Wakes = { onEntered: () => undefined, onQueueChanged: () => undefined };
  const { index, redisIndex, scripts, nodes, closeIndex } = await openIndex({ servers, database, log, metrics, wakes });
  const own = ownEndpoints(servers, nodes);
  const guard = new AddressGuard({ privateTargets: privateTargetsOf(config.privateTargets), nat64: config.nat64, own });
  const confirmTokens = createConfirmTokens(secrets.confirmKey);
  const sender = new Sender({ guard, signingKeys: secrets.signingKeys, confirmTokens, version });

  const dispatcherParts = { database, clock, log, metrics, index, redisIndex, sender };
  const dispatcher = config.role === "api" ? null : openDispatcher(config, servers, dispatcherParts);
  wakes.onEntered = (queue, at) => dispatcher?.hint(queue, at);
  wakes.onQueueChanged = (queue) => dispatcher?.queueChanged(queue);
  const feed = new EntryFeed({ index, now: () => clock.now(), ...wakes });
  const intakeParts = { database, queues: new KnownQueues(database), clock, signals: feed };
  const [intake, queues] = [new Intake(intakeParts), new Queues(intakeParts)];
  const { schedules, producer } = makeScheduling(config.role, { ...intakeParts, feed, log, metrics });
  const common = { database, clock, log, isDispatching: dispatcher !== null };
  const events = new Events({ ...common, metrics, signals: feed });
  const maintenance = new Maintenance({ ...common, retentionMs: config.retentionMs });

  const stop = new AbortController();
  const stopping = stop.signal;
  const readiness = () => readReadiness(database, { redisIndex, isStopping: stopping.aborted });
  const calls = { intake, queues, schedules, events: events.feed, subscriptions: events.subscriptions };
  const given = {
    ...calls,
    metrics,
    clock,
    log,
    readiness,
    stopping,
    config,
    database,
    scripts,
    secrets,
    confirmTokens,
    guard,
  };
  const server = await listen(createApp(apiParts(given)), config).catch((error: unknown) => {
    closeIndex(); // Before its Redis is ended, which would be logged as lost.
    throw error;
  });
  own.addUrl(server.url, httpPort);
  for (const part of [dispatcher, producer, events, maintenance]) part?.start();
  log.info({ role: config.role, postgres: servers.postgres, index: servers.index }, "service.started");

  return {
    url: server.url,
    async stop() {
      stop.abort();
      const isWritten = await drain({ server, intake, dispatcher, producer, maintenance, events });
      sender.close();
      closeIndex();
      await database.close();
      await servers.stop();
      log.info({ outcomesWritten: isWritten }, "service.stopped");
      return isWritten ? exitCodes.drained : exitCodes.outcomesUnwritten;
    },
  };
}

type SchedulingParts = Omit<ConstructorParameters<typeof Schedules>[0], "tzVersion" | "onChanged"> & {
  readonly feed: EntryFeed;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** What callers do to schedules, and what brings forth their tasks where this process dispatches. */
function makeScheduling(role: Config["role"], { feed, log, metrics, ...parts }: SchedulingParts) {
  const { database, clock } = parts;
  // A Node without ICU knows no zones, and so no version of them.
  const tzVersion = process.versions.tz ?? "";
  const onMade = (tasks: readonly DueEntry[]): void => feed.due(tasks);
  const producer =
    role === "api" ? null : new Producer({ database, clock, random: Math.random, log, metrics, tzVersion, onMade });
  return { producer, schedules: new Schedules({ ...parts, tzVersion, onChanged: () => producer?.wake() }) };
}

type OpenedParts = "database" | "clock" | "log" | "metrics" | "index" | "redisIndex" | "sender";

function openDispatcher({ role }: Config, servers: Servers, parts: Pick<DispatcherParts, OpenedParts>): Dispatcher {
  const { databaseUrl, isDatabaseOwned: isSoleOwner } = servers;
  return new Dispatcher({
    ...parts,
    databaseUrl,
    isSoleOwner,
    random: Math.random,
    isApiElsewhere: role === "dispatcher",
  });
}

/** Before anything is claimed: where a gap shows, tasks overdue by more than LAPSE_CATCH_UP wait for a resume, and the others come by and by. */
async function holdBack({ role, catchUpMs }: Config, database: Database, log: Log): Promise<void> {
  if (role === "api") return;
  const held = catchUpMs === null ? 0 : await holdOverdue(database, catchUpMs);
  if (held > 0) log.warn({ tasks: held }, "catch_up.tasks_held");
  const missed = await coalesceMissed(database);
  if (missed > 0) log.warn({ tasks: missed }, "catch_up.occurrences_coalesced");
  const ramped = await rampOverdue(database);
  if (ramped > 0) log.warn({ tasks: ramped }, "catch_up.tasks_ramped");
}

type CallParts =
  | "intake"
  | "queues"
  | "schedules"
  | "metrics"
  | "clock"
  | "log"
  | "readiness"
  | "stopping"
  | "events"
  | "subscriptions";

interface ApiSources extends Pick<ApiParts, CallParts> {
  readonly config: Config;
  readonly database: Database;
  readonly secrets: { readonly texts: readonly string[] };
  readonly scripts: OpenIndex["scripts"];
  readonly confirmTokens: ApiParts["confirmToken"];
  readonly guard: AddressGuard;
}

function apiParts({ config, database, scripts, secrets, confirmTokens, guard, ...parts }: ApiSources): ApiParts {
  const reader = new TaskReader(database);
  const audits = new Turns(auditsTogetherMax);
  const { rateLimit: perSecond } = config;
  const now = (): number => parts.clock.now();
  return {
    ...parts,
    tasks: {
      read: (task) => reader.read(task),
      readByKey: (queue, key) => reader.readByKey(queue, key),
      attempts: (task) => reader.attempts(task),
      list: (filter, page) => listTasks(database, filter, page),
    },
    audit: () => audits.run(() => readAudit(database)),
    signingSecrets: async () => secrets.texts,
    confirmToken: confirmTokens,
    checkUrl: (url) => guard.checkUrl(url),
    checkHeaders,
    access: { apiKey: config.apiKey, loopbackOnly: isLoopback(config.host) },
    apiKeys: new ApiKeys(database, parts.log),
    rateLimit: perSecond === null ? null : new RateLimiter({ perSecond, redis: scripts, now }),
    version,
    role: config.role,
  };
}

interface Draining {
  readonly server: HttpServer;
  readonly intake: Intake;
  readonly dispatcher: Dispatcher | null;
  readonly producer: Producer | null;
  readonly maintenance: Maintenance;
  readonly events: Events;
}

/** Requests under way are answered and calls in flight end, side by side: a receiver may need the API to confirm. */
async function drain({ server, intake, dispatcher, producer, maintenance, events }: Draining): Promise<boolean> {
  const stopped = [events.stop(), producer?.stop()];
  const isWritten = (await dispatcher?.stop()) ?? true;
  // After the calls, which need the measured clock until their outcome is written.
  const ended = Promise.all([...stopped, maintenance.stop(), server.close().then(() => intake.drained())]);
  await Promise.race([ended, sleep(endMsMax)]);
  return isWritten;
}

async function readSecrets(config: Config, database: Database) {
  const stored = config.signingSecrets ?? [await readSetting(database, "signing_secret", createSigningSecret)];
  const signing = parseSigningSecrets(stored.join(","));
  if ("error" in signing) throw new Error(`the stored signing secret ${signing.error}`);
  const confirmKey = await readSetting(database, "confirm_key", () => randomBytes(confirmKeyBytes).toString("base64"));
  return { texts: stored, signingKeys: signing.keys, confirmKey: Buffer.from(confirmKey, "base64") };
}

async function readReadiness(
  database: Database,
  { redisIndex, isStopping }: { redisIndex: SwitchingIndex | null; isStopping: boolean },
): Promise<Readiness> {
  const postgres = await isMigrated(database.kysely).then(
    (migrated) => (migrated ? "ok" : "migrations missing"),
    () => "unreachable",
  );
  const held = postgres === "ok" ? await database.query(countHeld) : 0;
  const redis = redisIndex === null ? "not used" : redisIndex.isRedisUp ? "ok" : "away: due times come from Postgres";
  return {
    ready: postgres === "ok" && !isStopping,
    degraded: redisIndex !== null && !redisIndex.isRedisUp,
    held,
    checks: { postgres, redis, ...(isStopping ? { process: "draining" } : {}) },
  };
}

/** Its own address joins them once it listens. */
function ownEndpoints({ databaseUrl, redisUrls }: Servers, redisNodes: OpenIndex["nodes"]): OwnEndpoints {
  const own = new OwnEndpoints(redisNodes);
  const postgres = serverOf(databaseUrl);
  if (postgres !== null) own.add(postgres);
  for (const url of redisUrls ?? []) own.addUrl(url, redisPort);
  return own;
}

function privateTargetsOf(targets: PrivateTargets): GuardTargets {
  return targets.allow === "cidrs" ? targets.cidrs : targets.allow;
}

const version = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
  .version;

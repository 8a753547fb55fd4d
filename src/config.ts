// Owns the settings: the only place that reads the environment. Read once at start, whole, checked, then frozen.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import {
  isLoopback,
  type PrivateTargets,
  type Read,
  readApiKey,
  readDatabaseUrl,
  readDuration,
  readFailpoint,
  readHost,
  readNat64,
  readPort,
  readPrivateTargets,
  readRateLimit,
  readRedisUrls,
  readSigningSecrets,
} from "./config/values.ts";
import type { ArmedFailpoint } from "./runtime/failpoint.ts";
import type { Nat64 } from "./webhook/deny-list.ts";

export type { PrivateTargets } from "./config/values.ts";

export interface Config {
  readonly host: string;
  readonly port: number;
  /** Null: an embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: string | null;
  /** Null: a Redis as a child, where one is found. Several: nodes of one Redis Cluster. */
  readonly redisUrls: readonly string[] | null;
  /** Absolute. */
  readonly dataDir: string;
  readonly role: Role;
  readonly apiKey: string | null;
  /** Requests a second for each API key; null: as many as come. */
  readonly rateLimit: number | null;
  /** Null: made once and kept in the database. Two while rotating. */
  readonly signingSecrets: readonly string[] | null;
  readonly privateTargets: PrivateTargets;
  /** What becomes of addresses behind a NAT64. */
  readonly nat64: Nat64;
  readonly retentionMs: number;
  /** Null: however late. */
  readonly catchUpMs: number | null;
  /** Null, but in tests. */
  readonly failpoint: ArmedFailpoint | null;
}

const roles = ["all", "api", "dispatcher"] as const;
export type Role = (typeof roles)[number];

/** One row of the README's table. */
export interface SettingDescription {
  readonly name: string;
  readonly defaultText: string;
  readonly description: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The settings, or every fault: a line each, that names the variable, what was expected and what was got. */
export type ConfigResult = { readonly config: Config } | { readonly faults: readonly string[] };

const dayMs = 86_400_000;
const retentionLimits = { minMs: 1_000, maxMs: 3_650 * dayMs };
const catchUpLimits = { minMs: 0, maxMs: 3_650 * dayMs };
const ownPrefix = "LAPSE_";

const settings = z.object({
  PORT: setting(readPort, "`8080`", "The port the API listens on; 0 takes a free one.").default(8080),
  HOST: setting(readHost, "`127.0.0.1`", "The address it listens on.").default("127.0.0.1"),
  DATABASE_URL: setting(
    secretly(readDatabaseUrl),
    "embedded",
    "A PostgreSQL 14 or later. Unset: a real PostgreSQL from an npm package, kept in `LAPSE_DATA_DIR`.",
  ).optional(),
  REDIS_URL: setting(
    secretly(readRedisUrls),
    "none",
    "Redis 6.2, Valkey 7 or later, or several comma-separated nodes of a Redis Cluster. Unset: a `redis-server` or `valkey-server` on the PATH is started as a child; where there is none, Postgres alone indexes the due times.",
  ).optional(),
  LAPSE_DATA_DIR: setting(
    (text) => ({ value: resolve(text) }),
    "`.lapse`",
    "The embedded servers' files. As root, where their user cannot enter the folder, they are kept below `/var/lib/lapse` (removed by `npm run clean`).",
  ).prefault(".lapse"),
  LAPSE_ROLE: setting(readRole, "`all`", "`api`, `dispatcher` or `all`; any number of processes of each.").default(
    "all",
  ),
  LAPSE_API_KEY: setting(
    secretly(readApiKey),
    "none",
    "The first admin key. With none, an API on loopback is open, and any other `HOST` is refused at start. A dispatcher alone needs none.",
  ).optional(),
  LAPSE_RATE_LIMIT: setting(
    readRateLimit,
    "none",
    "Requests a second that each API key may make, counted over all processes by Redis, and by each for itself where Redis is away.",
  ).optional(),
  LAPSE_SIGNING_SECRET: setting(
    secretly(readSigningSecrets),
    "made once, stored",
    "`whsec_…`, which signs the webhooks; two, comma-separated, while rotating.",
  ).optional(),
  LAPSE_ALLOW_PRIVATE_TARGETS: setting(
    readPrivateTargets,
    "`false`; `true` when embedded on loopback",
    "Whether webhooks may go to loopback, link-local and private addresses; comma-separated CIDRs allow just those.",
  ).optional(),
  LAPSE_NAT64: setting(
    readNat64,
    "`block`",
    "Whether webhooks may go to 64:ff9b::/96, for networks that reach IPv4 through a NAT64: `block`, or `decode`, by the IPv4 address within.",
  ).default("block"),
  LAPSE_RETENTION: setting(
    (text) => readDuration(text, retentionLimits),
    "`P7D`",
    "How long ended tasks stay.",
  ).default(7 * dayMs),
  LAPSE_CATCH_UP: setting(
    (text) => readDuration(text, catchUpLimits),
    "unlimited",
    "A duration: after a gap in Lapse's heartbeat, tasks overdue by more are paused until a bulk resume.",
  ).optional(),
  LAPSE_FAILPOINT: setting(
    readFailpoint,
    "none",
    "For tests alone: where the process kills itself, such as `settle.committed`, or `settle.committed:3` for the third pass.",
  ).optional(),
});
type Settings = z.output<typeof settings>;

/** A secret may also be the content of a file, named by its variable with this suffix. */
const fileSuffix = "_FILE";
const fileSettings = ["LAPSE_API_KEY", "LAPSE_SIGNING_SECRET"] as const;

/** Reads and checks every setting. An empty variable counts as unset. */
export function readConfig(environment: Environment): ConfigResult {
  const { values, faults } = gather(environment);
  const parsed = settings.safeParse(values);
  if (!parsed.success) faults.push(...parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`));
  faults.push(...unknownFaults(environment));
  if (parsed.success) faults.push(...relationFaults(parsed.data));
  return parsed.success && faults.length === 0 ? { config: toConfig(parsed.data) } : { faults };
}

/** Every setting, in the order of the README. */
export function describeConfig(): readonly SettingDescription[] {
  return Object.entries(settings.shape).map(([name, schema]) => {
    const { defaultText, description } = schema.unwrap().meta() ?? {};
    const more = fileSettings.some((known) => known === name)
      ? ` \`${name}${fileSuffix}\` names a file that holds it.`
      : "";
    return { name, defaultText: String(defaultText), description: `${description}${more}` };
  });
}

/** A setting that is read from text. One that holds a secret never shows its value. */
function setting<T>(read: Reader<T>, defaultText: string, description: string) {
  return z
    .string()
    .transform((text, context) => {
      const result = read(text);
      if ("value" in result) return result.value;
      const got = read.isSecret ? "a value that is not shown" : JSON.stringify(text);
      context.addIssue({ code: "custom", message: `expected ${result.expected}, got ${got}` });
      return z.NEVER;
    })
    .meta({ defaultText, description });
}

interface Reader<T> {
  (text: string): Read<T>;
  readonly isSecret?: true;
}

function secretly<T>(read: (text: string) => Read<T>): Reader<T> {
  return Object.assign((text: string) => read(text), { isSecret: true } as const);
}

function readRole(text: string): Read<Role> {
  const role = roles.find((known) => known === text);
  return role === undefined ? { expected: `one of ${roles.join(", ")}` } : { value: role };
}

/** The values that are set, those of files read, and what went wrong on the way. */
function gather(environment: Environment): { values: Record<string, string>; faults: string[] } {
  const values: Record<string, string> = {};
  const faults: string[] = [];
  for (const name of Object.keys(settings.shape)) {
    const value = environment[name];
    if (value) values[name] = value;
  }
  for (const name of fileSettings) {
    const path = environment[`${name}${fileSuffix}`];
    if (!path) continue;
    if (name in values) faults.push(`${name}${fileSuffix}: expected ${name} or this, got both`);
    const content = readText(path);
    if (content === null) faults.push(`${name}${fileSuffix}: expected a file that can be read, got "${path}"`);
    else values[name] = content.trim();
  }
  return { values, faults };
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** A misspelt setting would silently not be set. */
function unknownFaults(environment: Environment): string[] {
  const known = [...Object.keys(settings.shape), ...fileSettings.map((name) => `${name}${fileSuffix}`)];
  const ours = known.filter((name) => name.startsWith(ownPrefix)).join(", ");
  return Object.keys(environment)
    .filter((name) => name.startsWith(ownPrefix) && !known.includes(name))
    .map((name) => `${name}: expected one of the settings ${ours}, got a name that is none`);
}

/** What settings demand of each other. */
function relationFaults(values: Settings): string[] {
  const faults: string[] = [];
  const { HOST: host, LAPSE_ROLE: role } = values;
  if (!isLoopback(host) && values.LAPSE_API_KEY === undefined && role !== "dispatcher") {
    faults.push(`LAPSE_API_KEY: expected a key, since HOST (${host}) can be reached from other machines, got none`);
  }
  if (values.DATABASE_URL === undefined && role !== "all") {
    faults.push(`DATABASE_URL: expected the database that all processes share, since LAPSE_ROLE is ${role}, got none`);
  }
  return faults;
}

function toConfig(values: Settings): Config {
  const { HOST: host, DATABASE_URL: databaseUrl = null } = values;
  const isPrivateAndLocal = databaseUrl === null && isLoopback(host);
  return Object.freeze<Config>({
    host,
    port: values.PORT,
    databaseUrl,
    redisUrls: values.REDIS_URL ?? null,
    dataDir: values.LAPSE_DATA_DIR,
    role: values.LAPSE_ROLE,
    apiKey: values.LAPSE_API_KEY ?? null,
    rateLimit: values.LAPSE_RATE_LIMIT ?? null,
    signingSecrets: values.LAPSE_SIGNING_SECRET ?? null,
    privateTargets: values.LAPSE_ALLOW_PRIVATE_TARGETS ?? { allow: isPrivateAndLocal ? "all" : "none" },
    nat64: values.LAPSE_NAT64,
    retentionMs: values.LAPSE_RETENTION,
    catchUpMs: values.LAPSE_CATCH_UP ?? null,
    failpoint: values.LAPSE_FAILPOINT ?? null,
  });
}

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Config, describeConfig, type Environment, readConfig } from "../src/config.ts";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const apiKey = "0123456789abcdef";

function read(environment: Environment): Config {
  const result = readConfig(environment);
  if ("faults" in result) throw new Error(result.faults.join("\n"));
  return result.config;
}

function faultsOf(environment: Environment): readonly string[] {
  const result = readConfig(environment);
  return "faults" in result ? result.faults : [];
}

test("with nothing set everything is embedded, on loopback, and open to private targets", () => {
  expect(read({})).toEqual({
    host: "127.0.0.1",
    port: 8080,
    databaseUrl: null,
    redisUrls: null,
    dataDir: resolve(".lapse"),
    role: "all",
    apiKey: null,
    rateLimit: null,
    signingSecrets: null,
    privateTargets: { allow: "all" },
    nat64: "block",
    retentionMs: 7 * 86_400_000,
    catchUpMs: null,
    failpoint: null,
  });
});

test("each setting is read", () => {
  const config = read({
    HOST: "0.0.0.0",
    PORT: "0",
    DATABASE_URL: "postgres://u:p@db/lapse",
    REDIS_URL: "redis://a:1, rediss://b:2",
    LAPSE_DATA_DIR: "/srv/lapse",
    LAPSE_ROLE: "api",
    LAPSE_API_KEY: apiKey,
    LAPSE_RATE_LIMIT: "100",
    LAPSE_SIGNING_SECRET: `${secret},${secret}`,
    LAPSE_ALLOW_PRIVATE_TARGETS: "10.1.0.0/16,fd00::/8",
    LAPSE_NAT64: "decode",
    LAPSE_RETENTION: "12h",
    LAPSE_CATCH_UP: "PT1H",
    LAPSE_FAILPOINT: "settle.committed:3",
  });
  expect(config).toEqual({
    host: "0.0.0.0",
    port: 0,
    databaseUrl: "postgres://u:p@db/lapse",
    redisUrls: ["redis://a:1", "rediss://b:2"],
    dataDir: "/srv/lapse",
    role: "api",
    apiKey,
    rateLimit: 100,
    signingSecrets: [secret, secret],
    privateTargets: { allow: "cidrs", cidrs: ["10.1.0.0/16", "fd00::/8"] },
    nat64: "decode",
    retentionMs: 12 * 3_600_000,
    catchUpMs: 3_600_000,
    failpoint: { name: "settle.committed", pass: 3 },
  });
});

test("an empty variable counts as unset", () => {
  expect(read({ DATABASE_URL: "", LAPSE_API_KEY: "", PORT: "" })).toEqual(read({}));
});

test("the settings are frozen", () => {
  expect(Object.isFrozen(read({}))).toBe(true);
});

test.each<[Environment, Config["privateTargets"]["allow"]]>([
  [{}, "all"],
  [{ HOST: "::1" }, "all"],
  [{ HOST: "localhost" }, "all"],
  [{ HOST: "0.0.0.0", LAPSE_API_KEY: apiKey }, "none"],
  [{ DATABASE_URL: "postgres://db/lapse" }, "none"],
  [{ DATABASE_URL: "postgres://db/lapse", LAPSE_ALLOW_PRIVATE_TARGETS: "true" }, "all"],
  [{ LAPSE_ALLOW_PRIVATE_TARGETS: "false" }, "none"],
])("private targets with %o: %s", (environment, allow) => {
  expect(read(environment).privateTargets.allow).toBe(allow);
});

test.each<[Environment, RegExp]>([
  [{ PORT: "65536" }, /^PORT: expected a whole number .*, got "65536"$/],
  [{ PORT: "8080.5" }, /^PORT: /],
  [{ HOST: "127.0.0.1:80" }, /^HOST: expected an IP address/],
  [{ DATABASE_URL: "mysql://u:hidden@db/lapse" }, /^DATABASE_URL: expected postgres:/],
  ...["postgres:hidden", "//u:hidden@db/lapse", "postgres://u:hidden@db:x/lapse"].map((url): [Environment, RegExp] => [
    { DATABASE_URL: url },
    /^DATABASE_URL: expected postgres:/,
  ]),
  [
    { DATABASE_URL: "postgres://u:hidden@db/lapse?sslmode=on" },
    /^DATABASE_URL: .*\(sslmode is none of disable, prefer/,
  ],
  [{ DATABASE_URL: "postgres://u:hidden@db/lapse?port=0" }, /^DATABASE_URL: .*\(the port is none from 1 to 65535\)/],
  [{ DATABASE_URL: "postgres://u:hidden@db/lapse?port=x" }, /^DATABASE_URL: .*\(the port is none /],
  [{ DATABASE_URL: "postgres://u:hidden%FF@db/lapse" }, /^DATABASE_URL: .*\(URI malformed\)/],
  [{ DATABASE_URL: "postgres://u:hidden@db/lapse?sslrootcert=/nowhere" }, /^DATABASE_URL: .*open '\/nowhere'\)/],
  ...[
    "redis://a,localhost:6379",
    "redis:hidden",
    "redis://",
    "redis://a,redis://",
    "redis:///0",
    "redis://a/hidden",
    "redis://a/0/1",
    "redis://u:%hidden@a",
    "redis://%hidden@a",
  ].map((url): [Environment, RegExp] => [{ REDIS_URL: url }, /^REDIS_URL: expected redis:/]),
  [{ LAPSE_ROLE: "worker" }, /^LAPSE_ROLE: expected one of all, api, dispatcher, got "worker"$/],
  [{ LAPSE_API_KEY: "hidden" }, /^LAPSE_API_KEY: expected 16 to/],
  [{ LAPSE_API_KEY: "hidden with some spaces" }, /^LAPSE_API_KEY: /],
  [{ LAPSE_SIGNING_SECRET: "hidden" }, /^LAPSE_SIGNING_SECRET: expected whsec_/],
  [{ LAPSE_SIGNING_SECRET: `whsec_${Buffer.alloc(23).toString("base64")}` }, /^LAPSE_SIGNING_SECRET: /],
  [{ LAPSE_SIGNING_SECRET: `whsec_${Buffer.alloc(65).toString("base64")}` }, /^LAPSE_SIGNING_SECRET: /],
  [{ LAPSE_SIGNING_SECRET: [secret, secret, secret].join(",") }, /^LAPSE_SIGNING_SECRET: /],
  [{ LAPSE_ALLOW_PRIVATE_TARGETS: "10.0.0.0/33" }, /^LAPSE_ALLOW_PRIVATE_TARGETS: expected true, false, or CIDRs/],
  [{ LAPSE_ALLOW_PRIVATE_TARGETS: "yes" }, /^LAPSE_ALLOW_PRIVATE_TARGETS: /],
  ...["0", "100001", "10/s", "1.5", "-1"].map((text): [Environment, RegExp] => [
    { LAPSE_RATE_LIMIT: text },
    /^LAPSE_RATE_LIMIT: expected a whole number from 1 to 100000, got /,
  ]),
  [{ LAPSE_NAT64: "allow" }, /^LAPSE_NAT64: expected one of block, decode, got "allow"$/],
  [{ LAPSE_RETENTION: "7" }, /^LAPSE_RETENTION: expected a duration .*unit.*, got "7"$/],
  [{ LAPSE_CATCH_UP: "-PT1S" }, /^LAPSE_CATCH_UP: /],
  [{ LAPSE_FAILPOINT: "settle.forgotten" }, /^LAPSE_FAILPOINT: /],
  [{ LAPSE_FAILPOINT: "settle.committed:0" }, /^LAPSE_FAILPOINT: /],
  [{ LAPSE_RETENTOIN: "P7D" }, /^LAPSE_RETENTOIN: expected one of the settings .*LAPSE_RETENTION/],
  [{ LAPSE_API_KEY_FILE: "/nowhere" }, /^LAPSE_API_KEY_FILE: expected a file that can be read, got "\/nowhere"$/],
  [{ HOST: "0.0.0.0" }, /^LAPSE_API_KEY: .*HOST \(0\.0\.0\.0\) can be reached/],
  [{ LAPSE_ROLE: "dispatcher" }, /^DATABASE_URL: .*LAPSE_ROLE is dispatcher/],
])("%o is refused, naming the variable", (environment, fault) => {
  const faults = faultsOf(environment);
  expect(faults).toEqual([expect.stringMatching(fault)]);
  expect(faults.join()).not.toMatch(/hidden|\n/);
});

test.each([
  "postgres://",
  "postgres:///lapse",
  "POSTGRESQL://u:p%40@[::1]:6000/lapse?sslmode=disable",
  "postgres://u:p@/lapse?host=/run/postgresql",
])("%s is a database, as pg reads it", (url) => expect(read({ DATABASE_URL: url }).databaseUrl).toBe(url));

test.each(["redis://u:p%40@a:1/15", "rediss://:p@[::1]/", "redis://a,redis://b:2/"])("%s is a Redis", (urls) =>
  expect(read({ REDIS_URL: urls }).redisUrls).toEqual(urls.split(",")),
);

test("all faults are told at once", () => {
  expect(faultsOf({ PORT: "x", HOST: " ", LAPSE_ROLE: "x", LAPSE_X: "x" })).toHaveLength(4);
});

test("a dispatcher on another address needs no key", () => {
  expect(read({ HOST: "0.0.0.0", LAPSE_ROLE: "dispatcher", DATABASE_URL: "postgres://db/lapse" }).apiKey).toBeNull();
});

test("a secret is read from a file, without its last newline", () => {
  const folder = mkdtempSync(join(tmpdir(), "lapse-config-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "key");
  writeFileSync(path, `${apiKey}\n`);
  expect(read({ LAPSE_API_KEY_FILE: path }).apiKey).toBe(apiKey);
  expect(faultsOf({ LAPSE_API_KEY_FILE: path, LAPSE_API_KEY: apiKey })).toEqual([expect.stringMatching(/got both$/)]);
});

test("every setting is described", () => {
  for (const { name, defaultText, description } of describeConfig()) {
    expect(name).toMatch(/^[A-Z][A-Z0-9_]+$/);
    expect(defaultText).not.toBe("");
    expect(description).toMatch(/^[A-Z`].*\.$/);
  }
});

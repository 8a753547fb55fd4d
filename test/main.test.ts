import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { startGuard } from "../src/embedded/child.ts";
import { createDatabase, type TestDatabase } from "./support/database.ts";

const root = new URL("..", import.meta.url).pathname;
let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createDatabase();
  folder = mkdtempSync(join(tmpdir(), "lapse-main-"));
});

afterAll(async () => {
  await database.drop();
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly errors: () => string;
  /** Resolves once it has ended, to its exit code. */
  readonly ended: Promise<number | null>;
}

/** Runs a program of the project with these settings alone; it is killed when the test ends. */
function run(script: string, environment: Record<string, string>, ...args: string[]): Run {
  const env = { PATH: process.env["PATH"], LAPSE_DATA_DIR: folder, PORT: "0", ...environment };
  const child = spawn(process.execPath, [join(root, script), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = once(child, "close").then(([code]) => code as number | null);
  const guard = startGuard(child.pid ?? 0, "KILL");
  onTestFinished(async () => {
    guard.kill("SIGKILL");
    child.kill("SIGKILL");
    await ended;
  });
  return { child, out: () => out, errors: () => errors, ended };
}

/** Starts the service and resolves to its address once it says it. */
async function start(environment: Record<string, string> = {}): Promise<Run & { url: string }> {
  const service = run("src/main.ts", { DATABASE_URL: database.url, ...environment });
  const stdout = service.child.stdout;
  if (stdout === null) throw new Error("no standard output");
  await Promise.race([once(stdout, "data"), service.ended]);
  const url = /^lapse: listening on (http:\S+)\n/.exec(service.out())?.[1];
  if (url === undefined) throw new Error(`it did not start: ${service.errors()}`);
  return { ...service, url };
}

test("once ready it says its address, as the only line of standard output", async () => {
  const service = await start();
  expect(service.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  const response = await fetch(`${service.url}/healthz`);
  expect(response.status).toBe(200);
  service.child.kill("SIGTERM");
  await service.ended;
  expect(service.out()).toBe(`lapse: listening on ${service.url}\n`);
});

test.each(["SIGTERM", "SIGINT"] as const)("%s drains, with exit code 0", async (signal) => {
  const service = await start();
  service.child.kill(signal);
  expect(await service.ended).toBe(0);
});

test("the same signal again at once, as npm passes it on, does not cut the drain short", async () => {
  const service = await start();
  service.child.kill("SIGINT");
  service.child.kill("SIGINT");
  expect(await service.ended).toBe(0);
});

test("a bad setting ends it with exit code 2 and a line for each fault", async () => {
  const service = run("src/main.ts", { PORT: "http", LAPSE_RETENTION: "7" });
  expect(await service.ended).toBe(2);
  expect(service.errors()).toMatch(/^PORT: .*\nLAPSE_RETENTION: .*\n$/);
  expect(service.out()).toBe("");
});

test("a port in use is a bad setting", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const address = other.address();
  const port = typeof address === "object" ? String(address?.port) : "";
  const service = run("src/main.ts", { DATABASE_URL: database.url, PORT: port });
  expect(await service.ended).toBe(2);
  expect(service.errors()).toMatch(new RegExp(`^PORT: expected a free port of 127.0.0.1, got ${port}`, "m"));
});

test("a host that cannot be resolved is a bad setting", async () => {
  const environment = { DATABASE_URL: database.url, LAPSE_API_KEY: "0123456789abcdef" };
  const service = run("src/main.ts", { ...environment, HOST: "999.1.1.1" });
  expect(await service.ended).toBe(2);
  expect(service.errors()).toBe("HOST: expected an address of this machine, got 999.1.1.1\n");
});

test.each<[string, (url: URL) => void, string]>([
  ["a wrong password", (url) => void (url.password = "hidden"), 'password authentication failed for user ".+"'],
  ["no password", (url) => void (url.password = ""), "a password is asked for, and none was given"],
  ["an unknown role", (url) => void (url.username = "nobody"), 'password authentication failed for user "nobody"'],
  ["an unknown database", (url) => void (url.pathname = "/nowhere"), 'database "nowhere" does not exist'],
])("a database that refuses %s is a bad setting", async (_name, change, refusal) => {
  const url = new URL(database.url);
  change(url);
  const service = run("src/main.ts", { DATABASE_URL: url.href });
  expect(await service.ended).toBe(2);
  expect(service.errors()).toMatch(
    new RegExp(`^DATABASE_URL: expected a role and a database that the server takes, got: ${refusal}\n$`),
  );
});

test("a database that cannot be reached is none", async () => {
  const service = run("src/main.ts", { DATABASE_URL: "postgres://u:hidden@127.0.0.1:1/lapse" });
  expect(await service.ended).toBe(1);
  expect(service.errors()).toMatch(/"process.start_failed"/);
  expect(service.errors()).not.toMatch(/hidden/);
});

test.each<[string, () => Record<string, string>]>([
  ["below a file", () => ({ LAPSE_DATA_DIR: join(folder, "file", "below") })],
  ["in a file system that takes none", () => ({ LAPSE_DATA_DIR: "/proc/nope" })],
  ["there for a Redis alone", () => ({ LAPSE_DATA_DIR: "/proc/nope", DATABASE_URL: database.url })],
])("a data folder that cannot be made is a bad setting: %s", async (_name, environment) => {
  writeFileSync(join(folder, "file"), "");
  const service = run("src/main.ts", environment());
  expect(await service.ended).toBe(2);
  expect(service.errors()).toMatch(/^LAPSE_DATA_DIR: expected a folder that can be made and written to, got .+\n$/);
});

test("`lapse secret` shows the secret that webhooks are signed with", async () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const environment = { LAPSE_API_KEY: "0123456789abcdef", LAPSE_SIGNING_SECRET: secret };
  const service = await start(environment);
  const shown = run("scripts/lapse.js", environment, "secret", "--url", service.url);
  expect(await shown.ended).toBe(0);
  expect(shown.out()).toBe(`${secret}\n`);
  const refused = run("scripts/lapse.js", {}, "secret", "--url", service.url);
  expect(await refused.ended).toBe(1);
  expect(refused.errors()).toMatch(/answered 401: set LAPSE_API_KEY\n$/);
});

test("`lapse migrate` is safe to repeat, and needs a database", async () => {
  const again = run("scripts/lapse.js", { DATABASE_URL: database.url }, "migrate");
  expect(await again.ended).toBe(0);
  const without = run("scripts/lapse.js", {}, "migrate");
  expect(await without.ended).toBe(1);
  expect(without.errors()).toMatch(/DATABASE_URL: /);
});

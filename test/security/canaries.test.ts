// Owns the facts about what leaks (security.md, H1 and H2): secrets and callers' data are planted wherever they can be, every kind of failure is
// made to happen, and then all that the process wrote, its metrics, its errors and its arguments are searched for them.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createClient } from "redis";
import { expect, onTestFinished, test } from "vitest";
import { execute } from "../support/database.ts";
import { until } from "../support/flow.ts";
import { type LapseProcess, startLapse } from "../support/process.ts";
import { type ReceivedRequest, type ReceiverAnswer, startReceiver } from "../support/receiver.ts";
import { startPostgres, startRedis } from "../support/servers.ts";

const testMsMax = 120_000;
const stepMsMax = 30_000;
const refusedUrl = "http://127.0.0.1:1/";
const named = (what: string): string => `canary-${what}-${randomBytes(8).toString("hex")}`;

/** What must be found nowhere but where its owner asks for it. */
const canaries = {
  apiKey: named("api-key"),
  wrongKey: named("wrong-key"),
  queryKey: named("query-key"),
  cookie: named("cookie"),
  payload: named("payload"),
  urlQuery: named("url-query"),
  header: named("header"),
  label: named("label"),
  malformed: named("malformed"),
  confirmToken: named("confirm-token"),
  answer: named("answer"),
  answerHeader: named("answer-header"),
  redisPassword: named("redis-password"),
  /** ANSI and line breaks, to forge lines with. */
  forged: `\u001b[31m\r\n{"level":60,"msg":"${named("forged")}"}\n`,
  signingSecret: randomBytes(32).toString("base64"),
};

interface Said {
  readonly status: number;
  readonly text: string;
}

test("no secret and no caller's data reaches the log, the metrics, an error or the arguments", {
  timeout: testMsMax,
}, async () => {
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  await protect(redis.url);
  const receiver = await startReceiver({ answer: answerTo });
  onTestFinished(() => receiver.close());
  const lapse = await startLapse({
    env: {
      DATABASE_URL: postgres.url,
      REDIS_URL: `redis://:${canaries.redisPassword}@127.0.0.1:${redis.port}`,
      LAPSE_API_KEY: canaries.apiKey,
      LAPSE_SIGNING_SECRET: `whsec_${canaries.signingSecret}`,
      LAPSE_ALLOW_PRIVATE_TARGETS: "true",
    },
  });
  onTestFinished(() => lapse.end());
  const call = caller(lapse);
  const errors: Said[] = [];
  const refused = async (path: string, options: CallOptions = {}): Promise<void> => {
    const said = await call(path, options);
    expect(said.status, `${path} ${said.text}`).toBeGreaterThanOrEqual(400);
    errors.push(said);
  };

  await failEveryTask(call, receiver.url);
  const { headers } = await receiver.next((request) => request.path.startsWith("/ok"));
  const confirmToken = String(headers["lapse-confirm-token"]);
  const id = String(headers["webhook-id"]);
  for (const options of badRequests(id)) await refused(options.path, options);

  // By the right token it is told of its own attempt's end: that is its own to know.
  const tooLate = await call(`/v1/tasks/${id}/confirm`, {
    body: { attempt: 1 },
    headers: { authorization: "", "lapse-confirm-token": confirmToken },
  });
  expect(tooLate.status).toBe(409);
  // A constraint of the user's own: Postgres's error holds the whole row.
  await execute(
    postgres.url,
    "alter table lapse.tasks add constraint own check (url not like '%/constrained%') not valid",
  );
  await refused("/v1/tasks", { body: task(`${refusedUrl}constrained`) });
  await execute(postgres.url, "alter table lapse.attempts rename to attempts_elsewhere");
  await refused(`/v1/tasks/${id}/attempts`);
  await execute(postgres.url, "alter table lapse.attempts_elsewhere rename to attempts");
  redis.kill("SIGKILL");
  await until(
    () => lapse.lines,
    (lines) => lines.some((line) => line.includes("index.postgres_in_use")),
    stepMsMax,
  );
  postgres.kill("SIGKILL");
  // Its backends outlive it by a moment.
  const post = () => call("/v1/tasks", { body: task(refusedUrl) });
  errors.push(await until(post, ({ status }) => status === 503, stepMsMax));
  await refused(`/v1/tasks/${id}`);
  await refused("/readyz");

  const metrics = await call("/metrics");
  expect(metrics.text).toContain("lapse_");
  const secrets = { ...canaries, confirmToken, databasePassword: new URL(postgres.url).password };
  expect(errors.length).toBeGreaterThan(15);
  expect(lapse.lines.some((line) => line.includes('"request.failed"'))).toBe(true);
  const places = {
    log: lapse.lines.join("\n"),
    output: lapse.printed.join("\n"),
    metrics: metrics.text,
    errors: errors.map(({ text }) => text).join("\n"),
    arguments: readFileSync(`/proc/${lapse.pid}/cmdline`, "utf8"),
  };
  for (const [place, text] of Object.entries(places)) {
    const found = Object.entries(secrets).filter(
      ([, secret]) => text.includes(secret) || text.includes(JSON.stringify(secret).slice(1, -1)),
    );
    expect(found, `${place}: ${text.slice(0, 2_000)}`).toEqual([]);
  }
  for (const line of lapse.lines) expect(JSON.parse(line)).toMatchObject({ service: "lapse", msg: expect.any(String) });
  for (const { text } of errors)
    expect(text).not.toMatch(/select|insert|lapse\.tasks|\.ts:|node_modules|ECONN|127\.0\.0\.1|constraint/i);
});

test.each([
  ["DATABASE_URL", (secret: string) => `mysql://u:${secret}@h/d`],
  ["REDIS_URL", (secret: string) => `http://:${secret}@h`],
  ["LAPSE_API_KEY", (secret: string) => `${secret} with spaces`],
  ["LAPSE_SIGNING_SECRET", (secret: string) => `whsec_${secret}`],
])("a bad %s is not shown where the start fails by it", async (name, valueOf) => {
  const secret = named("setting");
  const failure = await startLapse({ env: { [name]: valueOf(secret) } }).catch((error: Error) => error.message);
  expect(failure).toContain(`${name}: expected`);
  expect(failure).not.toContain(secret);
});

test("a password that Postgres refuses is not shown", async () => {
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const secret = named("password");
  const url = new URL(postgres.url);
  url.password = secret;
  const failure = await startLapse({ env: { DATABASE_URL: url.href, REDIS_URL: "redis://127.0.0.1:1" } }).catch(
    (error: Error) => error.message,
  );
  expect(failure).toContain("password authentication failed");
  expect(failure).not.toContain(secret);
});

async function protect(redisUrl: string): Promise<void> {
  const client = await createClient({ url: redisUrl }).connect();
  await client.configSet("requirepass", canaries.redisPassword);
  client.destroy();
}

/** A task with canaries in all that a caller fills. */
function task(url: string, more: object = {}): object {
  const { payload, urlQuery, header, label, forged } = canaries;
  return {
    url: `${url}?key=${urlQuery}`,
    payload: { card: payload, forged },
    headers: { authorization: `Bearer ${header}`, cookie: header, "x-secret": header },
    labels: { label, forged },
    timeout: "200ms",
    retry: { maxAttempts: 1 },
    ...more,
  };
}

/** Tasks that succeed, fail, time out, are reset, cannot be connected to or sent. */
async function failEveryTask(call: Call, receiver: string): Promise<void> {
  const urls = ["ok", "fail", "hang", "reset", "redirect", "garbage"].map((path) => `${receiver}/${path}`);
  const ids: string[] = [];
  for (const url of [...urls, refusedUrl, `http://${canaries.label}.invalid/`]) {
    const accepted = await call("/v1/tasks", { body: task(url) });
    expect(accepted.status).toBe(201);
    ids.push((JSON.parse(accepted.text) as { id: string }).id);
  }
  const hasEnded = async (): Promise<boolean[]> =>
    Promise.all(ids.map(async (id) => /"state":"(succeeded|failed)"/.test((await call(`/v1/tasks/${id}`)).text)));
  await until(hasEnded, (ended) => !ended.includes(false), stepMsMax);
}

function answerTo({ path }: ReceivedRequest): ReceiverAnswer {
  const headers = { "set-cookie": canaries.answerHeader, location: `http://127.0.0.1:1/${canaries.answerHeader}` };
  const body = canaries.answer + canaries.forged;
  if (path.startsWith("/hang")) return { hang: true };
  if (path.startsWith("/reset")) return { reset: true };
  return { status: path.startsWith("/ok") ? 200 : path.startsWith("/redirect") ? 302 : 500, headers, body };
}

interface CallOptions {
  readonly method?: string;
  readonly body?: object;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Call = (path: string, options?: CallOptions) => Promise<Said>;

function caller({ url }: LapseProcess): Call {
  return async (path, { method, body, text = body === undefined ? undefined : JSON.stringify(body), headers } = {}) => {
    const answer = await fetch(url + path, {
      method: method ?? (text === undefined ? "GET" : "POST"),
      headers: {
        authorization: `Bearer ${canaries.apiKey}`,
        cookie: `session=${canaries.cookie}`,
        ...(text === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    });
    return { status: answer.status, text: await answer.text() };
  };
}

function badRequests(id: string): (CallOptions & { readonly path: string })[] {
  const { wrongKey, queryKey, malformed, payload, forged, confirmToken: wrongToken } = canaries;
  const path = "/v1/tasks";
  const unauthorized = { authorization: `Bearer ${wrongKey}` };
  return [
    { path, headers: unauthorized },
    { path, headers: { authorization: `Basic ${wrongKey}` } },
    { path, headers: unauthorized, body: task(refusedUrl) },
    { path: `${path}?api_key=${queryKey}` },
    { path: `${path}?cursor=${queryKey}` },
    { path: `/v1/nothing?token=${queryKey}` },
    { path, method: "PUT", body: task(refusedUrl) },
    { path, text: `{"payload":"${malformed}"` },
    { path, text: `{"payload":${malformed}}` },
    { path, text: malformed, headers: { "content-type": "text/plain" } },
    { path, body: task(refusedUrl, { queue: "a b", timeout: payload, key: "" }) },
    { path, body: task(refusedUrl, { headers: { "x-a": forged } }) },
    { path, body: task(refusedUrl, { key: forged }) },
    { path, body: task(`http://user:${payload}@shop.example/`) },
    { path, body: task("ftp://shop.example/") },
    { path, text: `"${"x".repeat(3_000_000)}${payload}"` },
    { path: "/v1/tasks/batch", body: { tasks: [task("nonsense")], atomic: true } },
    {
      path: `/v1/tasks/${id}/confirm`,
      body: { attempt: 1 },
      headers: { ...unauthorized, "lapse-confirm-token": wrongToken },
    },
    { path: `/v1/tasks/${payload}`, method: "PATCH", body: { payload } },
  ];
}

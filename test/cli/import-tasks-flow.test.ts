// Owns the checks of `lapse import` as a process of its own, against a Lapse of its own.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { unique } from "../support/flow.ts";
import { startTestService, type TestService } from "../support/service.ts";

const cli = fileURLToPath(new URL("../../scripts/lapse.js", import.meta.url));
const apiKey = "0123456789abcdef";

let folder: string;
let lapse: TestService;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lapse-import-"));
  lapse = await startTestService({ config: { apiKey } });
});
afterAll(async () => {
  await lapse.stop();
  rmSync(folder, { recursive: true, force: true });
});

const line = (fields: object = {}): string =>
  `${JSON.stringify({ url: "https://shop.example/hook", delay: "1h", ...fields })}\n`;

function fileOf(text: string): string {
  const file = join(folder, unique("tasks"));
  writeFileSync(file, text);
  return file;
}

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(
  args: readonly string[],
  { input = "", env = {} }: { input?: string; env?: object } = {},
): Promise<Ran> {
  const given = { PATH: process.env["PATH"] ?? "", LAPSE_API_KEY: apiKey, ...env };
  const child = spawn(process.execPath, [cli, "import", ...args], { env: given });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  child.stdin.on("error", () => undefined).end(input);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, ...said };
}

async function countOf(queue: string): Promise<number> {
  const stats = (await lapse.api.get(`/v1/queues/${queue}/stats`)).as<{ counts: { scheduled: number } }>();
  return stats.counts.scheduled;
}

test("a file is imported, and says so", async () => {
  const queue = unique("queue");
  const file = fileOf(Array.from({ length: 3_000 }, (_, i) => line({ queue, key: `order-${i}` })).join(""));
  const ran = { code: 0, stdout: "3000 accepted, 0 refused\n", stderr: "" };
  expect(await run([file, "--url", lapse.url])).toEqual(ran);
  expect(await run([file, "--url", lapse.url])).toEqual(ran);
  expect(await countOf(queue)).toBe(3_000);
});

test("the standard input is imported", async () => {
  expect(await run(["-", "--url", lapse.url], { input: line() })).toMatchObject({ code: 0 });
});

test("lines that are refused are told by number, as editors take them, and the exit code is 1", async () => {
  const file = fileOf(`${line()}{"url":"x","other":1}\n\n{\n`);
  const { code, stdout, stderr } = await run([file, "--url", lapse.url]);
  expect([code, stdout]).toEqual([1, "1 accepted, 2 refused\n"]);
  const [second, fourth] = stderr.split("\n");
  expect(second).toContain(`${file}:2: `);
  expect(second).toMatch(/\/other is not a field here/);
  expect(fourth).toContain(`${file}:4: `);
});

test("an import goes on from the line that it is told, and numbers lines as the file does", async () => {
  const queue = unique("queue");
  const file = fileOf(`${line({ queue })}${line({ queue })}{}\n${line({ queue })}`);
  const { stdout, stderr } = await run([file, "--url", lapse.url, "--from-line", "3"]);
  expect(stdout).toBe("1 accepted, 1 refused\n");
  expect(stderr).toContain(`${file}:3: `);
  expect(await countOf(queue)).toBe(1);
});

test.each([
  ['{"accepted":1000,"refused":1,"done":false,"line":1005,"problem":{"detail":"Why."}}\n', 1_005, "Why."],
  ['{"accepted":1000,"refused":0}\n', 1_001, "the connection broke"],
])("an import that ends with %j says from which line to go on", async (answer, next, why) => {
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    request.resume();
    // Half a connection: what was written comes before its end, and nothing is reset.
    const end = (): void => void (answer.includes("done") ? response.end() : response.socket?.end());
    request.once("data", () => response.write(answer, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => server.close().closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code, stderr } = await run([fileOf(line().repeat(100_000)), "--url", url, "--from-line", "11"]);
  expect(code).toBe(1);
  expect(stderr).toContain(`the import stopped before line ${next + 10}: ${why}\n`);
  expect(stderr).toContain(`--from-line ${next + 10};`);
});

test.each([
  ["no Lapse answers", () => ["--url", "http://127.0.0.1:1"], {}],
  ["answered 401", () => ["--url", lapse.url], { LAPSE_API_KEY: "" }],
  ["answered 401", () => ["--url", lapse.url, "--api-key", "another"], {}],
  ["no such file", () => ["--url", lapse.url], { file: join("/nowhere", "tasks") }],
  ["expected a line number", () => ["--url", lapse.url, "--from-line", "0"], {}],
])(
  "it ends with 1 and a word where %s",
  async (word, args, { file = fileOf(line()), ...env }: Record<string, string>) => {
    const { code, stdout, stderr } = await run([file, ...args()], { env });
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(word);
  },
);

// What receivers answer is not trusted: cut short, and given out as data that no browser takes for a page. Security requirements C5 and D10.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Flow, startFlow } from "../support/flow.ts";
import { startTrap } from "./trap.ts";

const snippetBytesMax = 1_024;
const markup = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`${1}\u2028";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

test("markup in an answer is given out as JSON alone, and cut to 1 KiB", async () => {
  const hook = flow.hook({ status: 500, headers: { "content-type": "text/html" }, body: markup.repeat(100) });
  const { id } = await flow.create({ url: hook.url, delay: "0s", retry: { maxAttempts: 1 } });
  await flow.reaches(id, "failed");
  for (const path of [`/v1/tasks/${id}`, `/v1/tasks/${id}/attempts`, "/v1/tasks?state=failed"]) {
    const { headers, text } = await flow.api.get(path, { accept: "text/html" });
    expect(headers["content-type"]).toMatch(/^application\/json/);
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(text).toContain("<script>alert(1)");
  }
  const snippet = (await flow.read(id)).lastAttempt?.responseSnippet ?? "";
  expect(markup.repeat(100).startsWith(snippet)).toBe(true);
  expect(Buffer.byteLength(snippet)).toBeGreaterThan(snippetBytesMax - 4);
  expect(Buffer.byteLength(snippet)).toBeLessThanOrEqual(snippetBytesMax);
});

test.each([
  ["lapse-reschedule", markup],
  ["lapse-reschedule", "1".repeat(10_000)],
  ["lapse-reschedule", "PT0S, PT5M"],
  ["lapse-reschedule", "\u00ff\u00fe"],
])("a %s of %j is a failed attempt whose error can be read", async (name, value) => {
  const hook = flow.hook({
    headers: {
      [name]: Buffer.from(value)
        .toString("latin1")
        .replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, ""),
    },
  });
  const { id } = await flow.create({ url: hook.url, delay: "0s", retry: { maxAttempts: 1 } });
  const { lastAttempt } = await flow.reaches(id, "failed");
  expect(lastAttempt).toMatchObject({
    outcome: "failed",
    status: 200,
    error: expect.stringContaining("lapse-reschedule"),
  });
  expect(lastAttempt?.error?.length).toBeLessThanOrEqual(500);
});

test.each(["302", "307", "308"])("a %s leads nowhere: its Location is not called", async (status) => {
  const trap = await startTrap(() =>
    [new URL(flow.receiver.url), new URL(flow.service.url)].map(({ port }) => Number(port)),
  );
  for (const location of [`http://127.0.0.1:${trap.port}/`, "http://169.254.169.254/latest/meta-data/", "//[::1]/"]) {
    const hook = flow.hook({ status: Number(status), headers: { location } });
    const { id } = await flow.create({ url: hook.url, delay: "0s", retry: { maxAttempts: 1 } });
    const { lastAttempt } = await flow.reaches(id, "failed");
    const error = expect.stringContaining(`with the location "${location}"; redirects`);
    expect(lastAttempt).toMatchObject({ outcome: "failed", status: Number(status), error });
    expect(hook.requests).toHaveLength(1);
  }
  const reached = trap.attempts().filter((attempt) => attempt.endsWith(` ${trap.port}`) || attempt.includes("169.254"));
  expect([reached, trap.caught]).toEqual([[], 0]);
  await trap.close();
});

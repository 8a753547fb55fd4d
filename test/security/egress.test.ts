// Every form of every address that webhooks may not go to, through real URLs: refused at create, blocked at fire where the row holds it
// already or a name resolves to it, and never connected to. Security requirements C1, C2, C3, C4 and C6.

import dns from "node:dns";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { TaskJson } from "../support/api.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { startSender } from "../webhook/sending.ts";
import { badIpv4, badIpv6, hostsOfBadAddresses, ipv4Answers, ipv4Hosts, justOutside } from "./bad-addresses.ts";
import { type Planter, startPlanter } from "./planted.ts";
import { startTrap, type Trap } from "./trap.ts";

/** Of the service's own connections. */
let ownPorts: number[] = [];
let service: TestService;
let trap: Trap;
let planter: Planter;

beforeAll(async () => {
  trap = await startTrap(() => ownPorts);
  service = await startTestService({ config: { privateTargets: { allow: "none" } } });
  planter = await startPlanter(service);
  // All that was connected to so far are the service's stores and, by the tests, its API.
  ownPorts = [...new Set(trap.attempts().map((attempt) => Number(attempt.split(" ")[1])))];
});

afterEach(() => {
  vi.restoreAllMocks();
});

afterAll(async () => {
  await planter.close();
  await service.stop();
  await trap.close();
});

const fire = (urls: readonly string[]): Promise<TaskJson[]> => planter.fire("url", urls);

/** Each must have ended without a connection, and without a word on what is behind the address. */
function expectBlocked(tasks: readonly TaskJson[], error: RegExp): void {
  for (const { url, state, lastAttempt } of tasks) {
    expect({ url, state }).toEqual({ url, state: "failed" });
    expect({ url, ...lastAttempt }).toMatchObject({
      url,
      outcome: "blocked",
      status: null,
      responseSnippet: null,
      error: expect.stringMatching(error),
    });
    expect(lastAttempt?.error).not.toMatch(/refused|ECONN|timed|caught|open|closed/i);
  }
  expect([trap.attempts(), trap.caught]).toEqual([[], 0]);
}

const otherHosts =
  `localhost LOCALHOST api.localhost localhost. api.localhost. ｌｏｃａｌｈｏｓｔ loc%61lhost shop.example. bücher.example.
  [::1%25lo] [::1%lo] [fe80::1%25eth0] user@8.8.8.8 user:password@8.8.8.8 :password@8.8.8.8`.split(/\s+/);
const urlsTo = (hosts: readonly string[]): string[] => hosts.map((host) => `http://${host}:${trap.port}/hooks?x=1`);

describe("a URL to a bad address", () => {
  test.each([
    ["the bad addresses in every form", hostsOfBadAddresses],
    ["local names, zones and user names", otherHosts],
  ])("is refused at create: %s", async (_name, hosts) => {
    for (const url of urlsTo(hosts)) {
      const { problem } = await service.api.post("/v1/tasks", { url, delay: "1h" });
      expect({ url, ...problem }).toMatchObject({ url, status: 422, errors: [{ path: "/url" }] });
    }
    expect([trap.attempts(), trap.caught]).toEqual([[], 0]);
  });

  test("just outside a block is taken at create", async () => {
    for (const address of justOutside) {
      const url = `http://${address.includes(":") ? `[${address}]` : address}/`;
      expect((await service.api.post("/v1/tasks", { url, delay: "1h" })).status).toBe(201);
    }
  });

  test("is refused by PATCH and in a batch too", async () => {
    const { id } = (await service.api.post("/v1/tasks", { url: "https://shop.example/", delay: "1h" })).task;
    const [url] = urlsTo(["127.0.0.1"]);
    expect((await service.api.patch(`/v1/tasks/${id}`, { url })).problem).toMatchObject({ status: 422 });
    const batch = await service.api.post("/v1/tasks/batch", { tasks: [{ url }] });
    expect(batch.json).toMatchObject({ items: [{ status: 422 }] });
  });

  test("is blocked at fire where the row holds it", async () => {
    const schemes = ["https:", "ftp:", "file:", "javascript:", "unix:"].map(
      (scheme) => `${scheme}//127.0.0.1:${trap.port}/`,
    );
    const urls = [...urlsTo([...hostsOfBadAddresses, ...otherHosts]), ...schemes];
    const tasks = await fire(urls);
    expect(tasks.map(({ url }) => url).toSorted()).toEqual(urls.toSorted());
    expectBlocked(tasks, /^(egress_blocked: |The URL must )/);
    const literal = tasks.filter(({ url }) => URL.canParse(url) && /^https?:\/\/[^@]*$/.test(url));
    expect(literal.length).toBeGreaterThanOrEqual(hostsOfBadAddresses.length);
    expectBlocked(literal, /^egress_blocked: /);
  });
});

describe("a name", () => {
  const answers: readonly (readonly string[])[] = [
    ...badIpv4.flatMap(ipv4Answers).map((answer) => [answer]),
    ...badIpv6.map((answer) => [answer]),
    ["127.0.0.1", "::1", "10.0.0.1", "::ffff:169.254.169.254"],
  ];

  test("that resolves to bad addresses alone is taken at create, and blocked at fire", async () => {
    const lookup = (
      host: string,
      _options: unknown,
      answer: (error: null, found: dns.LookupAddress[]) => void,
    ): void => {
      const addresses = answers[Number(/^bad-(\d+)\.test$/.exec(host)?.[1])] ?? [];
      answer(
        null,
        addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      );
    };
    vi.spyOn(dns, "lookup").mockImplementation(lookup as never);
    const urls = answers.map((_, at) => `http://bad-${at}.test:${trap.port}/`);
    expect((await service.api.post("/v1/tasks", { url: urls[0], delay: "1h" })).status).toBe(201);
    expectBlocked(await fire(urls), /^egress_blocked: bad-\d+\.test is not an address that webhooks may go to$/);
  });
});

describe("ports", () => {
  test.each([1, 22, 25, 79, 81, 442, 444, 1023, 3306, 5432, 6379, 11211, 27017])(
    "such as %i are refused",
    async (port) => {
      const { problem } = await service.api.post("/v1/tasks", { url: `https://shop.example:${port}/`, delay: "1h" });
      expect(problem).toMatchObject({
        status: 422,
        errors: [{ path: "/url", message: expect.stringContaining("port") }],
      });
    },
  );

  test.each([80, 443, 1024, 3000, 8080, 8443, 65535])("such as %i are taken", async (port) => {
    const { status } = await service.api.post("/v1/tasks", { url: `https://shop.example:${port}/`, delay: "1h" });
    expect(status).toBe(201);
  });
});

test("with LAPSE_NAT64=decode an address behind a NAT64 is judged by the IPv4 address within", async () => {
  const config = { privateTargets: { allow: "none" }, nat64: "decode", role: "api" } as const;
  const decoding = await startTestService({ redis: "away", config });
  const statusOf = async (url: string): Promise<number> =>
    (await decoding.api.post("/v1/tasks", { url, delay: "1h" })).status;
  expect(await statusOf("https://[64:ff9b::8.8.8.8]/")).toBe(201);
  expect(await statusOf("https://[64:ff9b::10.0.0.1]/")).toBe(422);
  expect((await service.api.post("/v1/tasks", { url: "https://[64:ff9b::8.8.8.8]/", delay: "1h" })).status).toBe(422);
  await decoding.stop();
});

test("the trap catches what gets through: each form leads to loopback where it is allowed", async () => {
  const open = await startTrap();
  const { sender, send } = startSender("all");
  const hosts = ipv4Hosts("127.0.0.1").filter((host) => !host.startsWith("[") || /ffff:(127|7f00)/i.test(host));
  for (const host of hosts) {
    const result = await send({ url: `http://${host}:${open.port}/`, delivery: "at-most-once" });
    expect({ host, ...result }).toMatchObject({ host, kind: "answered", snippet: "caught" });
  }
  expect(open.caught).toBe(hosts.length);
  expect(open.attempts()).toHaveLength(hosts.length);
  sender.close();
  await open.close();
});

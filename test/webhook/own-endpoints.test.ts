// That no webhook goes to Lapse's own API, PostgreSQL or Redis, by whatever name: security requirement C7.

import { networkInterfaces } from "node:os";
import { describe, expect, test } from "vitest";
import { AddressGuard, type GuardParts } from "../../src/webhook/address-guard.ts";
import { OwnEndpoints } from "../../src/webhook/own-endpoints.ts";

const names: Readonly<Record<string, readonly string[]>> = {
  "postgres.internal": ["10.0.0.5", "fd00::5"],
  "alias.test": ["10.0.0.5"],
  "mixed.test": ["10.0.0.5", "10.0.0.6"],
  "local.test": ["127.0.0.1"],
  "zero.test": ["0.0.0.0", "::", "::ffff:127.0.0.1"],
};
const lookup = (host: string): Promise<readonly string[]> =>
  host in names ? Promise.resolve(names[host] ?? []) : Promise.reject(new Error("ENOTFOUND"));

function guardOf(urls: readonly string[], more: Partial<GuardParts> = {}): AddressGuard {
  const own = new OwnEndpoints();
  for (const url of urls) own.addUrl(url, url.startsWith("redis") ? 6379 : url.startsWith("postgres") ? 5432 : 80);
  return new AddressGuard({ privateTargets: "all", own, lookup, ...more });
}

const itself = /Lapse itself or its stores/;

describe("an endpoint of Lapse's own on loopback", () => {
  const guard = guardOf(["http://127.0.0.1:8080", "postgres://u:p@127.0.0.1:5999/lapse", "redis://:p@localhost"]);
  const spellings =
    `127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 localhost LOCALHOST api.localhost localhost. 0.0.0.0 0
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::]`.split(/\s+/);

  test.each(spellings)("is refused as %s at create, and at connect where it is an address", async (host) => {
    for (const port of [8080, 5999, 6379]) {
      const url = new URL(`http://${host}:${port}/v1/tasks`);
      expect(guard.checkUrl(url.href)).toMatch(itself);
      if (!/localhost/i.test(host)) expect(await guard.resolve(url.hostname.replace(/[[\]]/g, ""), port)).toEqual([]);
    }
  });

  test.each(["local.test", "zero.test"])("is refused at connect where the name %s leads to it", async (host) => {
    expect(guard.checkUrl(`http://${host}:8080/`)).toBeNull();
    expect(await guard.resolve(host, 8080)).toEqual([]);
  });

  test("leaves other ports and other addresses to receivers", async () => {
    for (const url of [
      "http://127.0.0.1:8081/",
      "http://127.0.0.1/",
      "http://127.0.0.2:8080/",
      "http://10.0.0.5:8080/",
    ]) {
      const { hostname, port } = new URL(url);
      expect(guard.checkUrl(url)).toBeNull();
      expect(await guard.resolve(hostname, Number(port) || 80)).toEqual([hostname]);
    }
  });
});

describe("an endpoint that has a name", () => {
  const guard = guardOf(["postgres://u:p@postgres.internal/lapse"]);

  test("is refused by that name at create, and by its addresses at connect", async () => {
    expect(guard.checkUrl("http://postgres.internal:5432/")).toMatch(itself);
    expect(await guard.resolve("postgres.internal", 5432)).toEqual([]);
    expect(await guard.resolve("alias.test", 5432)).toEqual([]);
    expect(await guard.resolve("fd00::5", 5432)).toEqual([]);
    expect(await guard.resolve("mixed.test", 5432)).toEqual(["10.0.0.6"]);
    expect(await guard.resolve("alias.test", 5433)).toEqual(["10.0.0.5"]);
  });

  test("keeps no receiver from being called where its own name cannot be looked up", async () => {
    expect(await guardOf(["redis://gone.test"]).resolve("10.0.0.5", 6379)).toEqual(["10.0.0.5"]);
  });
});

test.each(["http://0.0.0.0:8080", "http://[::]:8080"])(
  "an API on %s is refused by every address of this machine",
  async (url) => {
    const guard = guardOf([url]);
    const addresses = Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address));
    for (const address of [...addresses, "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"]) {
      expect(guard.checkUrl(`http://${address.includes(":") ? `[${address}]` : address}:8080/`)).toMatch(itself);
      expect(await guard.resolve(address, 8080)).toEqual([]);
    }
    expect(await guard.resolve("8.8.8.8", 8080)).toEqual(["8.8.8.8"]);
  },
);

test("a list of CIDRs allows what it names, also where it is Lapse's own, and nothing else", async () => {
  const urls = ["http://10.1.0.1:8080", "http://93.184.216.34:8080"];
  const listed = guardOf(urls, { privateTargets: ["10.1.0.0/16"] });
  expect(listed.checkUrl("http://10.1.0.1:8080/")).toBeNull();
  expect(await listed.resolve("10.1.0.1", 8080)).toEqual(["10.1.0.1"]);
  for (const privateTargets of ["none", "all", ["10.1.0.0/16"]] as const) {
    const guard = guardOf(urls, { privateTargets });
    expect(guard.checkUrl("http://93.184.216.34:8080/")).toMatch(itself);
    expect(await guard.resolve("93.184.216.34", 8080)).toEqual([]);
  }
});

test("of what is denied anyway nobody is told whether it is Lapse's own", () => {
  const urls = ["http://10.0.0.5:8080", "postgres://10.0.0.5", "redis://redis:6379"];
  const guard = guardOf(urls, { privateTargets: "none" });
  const faultAt = (host: string): (string | null)[] =>
    [8080, 5432, 6379].map((port) => guard.checkUrl(`http://${host}:${port}/`));
  expect(faultAt("10.0.0.5")).toEqual(faultAt("10.0.0.6"));
  expect(faultAt("redis").slice(1)).toEqual(faultAt("other").slice(1));
});

test("endpoints that come and go count as they stand at each look", async () => {
  let nodes = [{ host: "10.0.0.5", port: 7000 }];
  const guard = new AddressGuard({ privateTargets: "all", own: new OwnEndpoints(() => nodes), lookup });
  expect(guard.checkUrl("http://10.0.0.5:7000/")).toMatch(itself);
  expect(await guard.resolve("alias.test", 7000)).toEqual([]);
  nodes = [{ host: "10.0.0.6", port: 7000 }];
  expect(guard.checkUrl("http://10.0.0.5:7000/")).toBeNull();
  expect(await guard.resolve("mixed.test", 7000)).toEqual(["10.0.0.5"]);
});

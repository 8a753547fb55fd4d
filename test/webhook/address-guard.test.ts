// Which URLs and addresses webhooks may go to: security requirements C1, C3 and C4, without a connection.

import { describe, expect, test } from "vitest";
import { AddressGuard } from "../../src/webhook/address-guard.ts";
import { urlLengthMax } from "../../src/webhook/target.ts";
import { DenyList } from "../../src/webhook/deny-list.ts";
import { ipv4Answers, ipv4Blocks, ipv6Blocks, justOutside, knownIpv4, knownIpv6 } from "../security/bad-addresses.ts";

const guard = new AddressGuard({ privateTargets: "none" });

/** At create, and at connect by a name that resolves to it: the two must say the same. */
async function isDenied(address: string): Promise<boolean> {
  const named = new AddressGuard({ privateTargets: "none", lookup: async () => [address] });
  const atConnect = await named.resolve("shop.test", 80);
  const literal = address.includes(":") ? `[${address}]` : address;
  expect(guard.checkUrl(`http://${literal}/`) === null).toBe(atConnect.length === 1);
  expect(await guard.resolve(address, 80)).toEqual(atConnect);
  return atConnect.length === 0;
}

describe("an address", () => {
  test.each([...ipv4Blocks, ...ipv6Blocks])("from %s to %s is denied, at both ends", async (first, last) => {
    expect([await isDenied(first), await isDenied(last)]).toEqual([true, true]);
  });

  test.each(justOutside)("just outside, such as %s, is allowed", async (address) =>
    expect(await isDenied(address)).toBe(false),
  );

  test.each([...knownIpv4, ...knownIpv6, ...knownIpv4.flatMap(ipv4Answers)])(
    "known from attacks, such as %s, is denied",
    async (address) => expect(await isDenied(address)).toBe(true),
  );
});

describe("a URL", () => {
  test.each([
    "https://shop.example/hooks/cancel-order?x=1#y",
    "http://shop.example",
    "HTTPS://SHOP.EXAMPLE:443/",
    "https://shop.example:8443/",
    "https://shop.example:65535/",
    "https://shop.example:1024/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "http://8.8.8.8/",
    "http://localhost.example/",
    "http://notlocalhost/",
  ])("%s is allowed", (url) => expect(guard.checkUrl(url)).toBeNull());

  const refused: [url: string, because: RegExp][] = [
    ["ftp://shop.example/", /http or https/],
    ["file:///etc/passwd", /http or https/],
    ["javascript:alert(1)", /http or https/],
    ["/hooks", /http or https/],
    ["shop.example", /http or https/],
    ["", /http or https/],
    ["http://", /http or https/],
    ["http://shop.example:99999/", /http or https/],
    ["http://[::1%25eth0]/", /http or https/],
    ["http://[fe80::1%eth0]/", /http or https/],
    ["https://user@shop.example/", /user name/],
    ["https://user:password@shop.example/", /user name/],
    ["https://:password@shop.example/", /user name/],
    [`https://shop.example/${"x".repeat(urlLengthMax)}`, /2048 characters/],
    ["http://localhost/", /loopback/],
    ["http://LOCALHOST/", /loopback/],
    ["http://localhost./", /loopback/],
    ["http://api.localhost/", /loopback/],
    ["http://api.localhost./", /loopback/],
    ["http://ｌｏｃａｌｈｏｓｔ/", /loopback/],
    ["http://127.0.0.1./", /loopback/],
    ["http://shop.example./", /trailing dot/],
    ["http://shop.example:22/", /port 22/],
    ["http://shop.example:1023/", /port 1023/],
    ["http://shop.example:0/", /port 0/],
    ["http://shop.example:5432/", /port 5432/],
    ["http://shop.example:6379/", /port 6379/],
    ["http://shop.example:27017/", /port 27017/],
    ["http://shop.example:11211/", /port 11211/],
  ];

  test.each(refused)("%s is refused", (url, because) => expect(guard.checkUrl(url)).toMatch(because));

  test.each([
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0x0a.1/",
    "http://169.254.43518/",
    "http://0xA9FEA9FE/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[0:0:0:0:0:ffff:7f00:0001]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[::]/",
    "http://%31%32%37.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
  ])("%s is seen through", (url) => expect(guard.checkUrl(url)).toMatch(/loopback/));
});

describe("private targets", () => {
  test("all allowed leave the form alone to be checked", () => {
    const open = new AddressGuard({ privateTargets: "all" });
    for (const url of ["http://127.0.0.1:5432/", "http://localhost:22/", "http://[::1]/", "http://shop.example./"]) {
      expect(open.checkUrl(url)).toBeNull();
    }
    expect(open.checkUrl("ftp://127.0.0.1/")).toMatch(/http or https/);
    expect(open.checkUrl("http://a@127.0.0.1/")).toMatch(/user name/);
    expect(open.checkUrl(`http://shop.example/${"x".repeat(urlLengthMax)}`)).toMatch(/2048/);
  });

  test("allowed by CIDR are those and no others, in every spelling", () => {
    const some = new AddressGuard({ privateTargets: ["10.1.0.0/16", "fd00::/8", "192.168.7.7"] });
    for (const host of ["10.1.0.0", "10.1.255.255", "0x0a010001", "[::ffff:10.1.2.3]", "[fd12::1]", "192.168.7.7"]) {
      expect(some.checkUrl(`http://${host}/`)).toBeNull();
    }
    for (const host of ["10.0.255.255", "10.2.0.0", "192.168.7.8", "127.0.0.1", "localhost", "[::1]", "[fc00::1]"]) {
      expect(some.checkUrl(`http://${host}/`)).toMatch(/loopback/);
    }
    expect(some.checkUrl("http://10.1.0.1:5432/")).toMatch(/port 5432/);
  });

  test("allowed by CIDR reach a name's allowed addresses alone", async () => {
    const lookup = async () => ["10.1.2.3", "10.2.2.3", "::ffff:10.1.2.4", "fd00::1", "fc00::1", "8.8.8.8"];
    const some = new AddressGuard({ privateTargets: ["10.1.0.0/16", "fd00::/8"], lookup });
    expect(await some.resolve("shop.test", 80)).toEqual(["10.1.2.3", "::ffff:10.1.2.4", "fd00::1", "8.8.8.8"]);
  });

  test("allow localhost with either of its addresses", () => {
    expect(new AddressGuard({ privateTargets: ["127.0.0.0/8"] }).checkUrl("http://localhost:3000/")).toBeNull();
    expect(new AddressGuard({ privateTargets: ["::1"] }).checkUrl("http://api.localhost/")).toBeNull();
  });
});

describe("what is not an address in its plain form", () => {
  test.each(["fe80::1%eth0", "::1%lo", "127.0.0.1%1", "nonsense", "127.0.0.1 ", ""])(
    "such as %j is denied",
    (address) => {
      expect(new DenyList([], "block").isDenied(address)).toBe(true);
      expect(new DenyList([], "decode").isDenied(address)).toBe(true);
    },
  );

  test("is no more allowed by an exception than the address itself", () => {
    const list = new DenyList(["fe80::/10"], "block");
    expect([list.isDenied("fe80::1%eth0"), list.isDenied("::1%eth0")]).toEqual([false, true]);
  });
});

describe("addresses behind a NAT64 (64:ff9b::/96)", () => {
  const publicOnes = ["64:ff9b::8.8.8.8", "64:ff9b::808:808", "64:ff9b:0:0:0:0:5db8:d822", "64:ff9b::0100:0"];
  const privateOnes = `64:ff9b::10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::a83f:8110 64:ff9b:: 64:ff9b::1
    64:ff9b::ffff:ffff 64:ff9b::c0a8:0 64:FF9B::0A00:1`.split(/\s+/);
  const outside = ["64:ff9b:1::808:808", "64:ff9b:0:0:0:1:808:808", "64:ff9a::808:808", "64:ff9b::1:808:808"];

  test("are all denied unless they are to be decoded", () => {
    const list = new DenyList([], "block");
    for (const address of [...publicOnes, ...privateOnes, ...outside]) expect(list.isDenied(address)).toBe(true);
  });

  test("are judged by the IPv4 address within where they are", () => {
    const list = new DenyList([], "decode");
    expect(publicOnes.filter((address) => list.isDenied(address))).toEqual([]);
    expect([...privateOnes, ...outside].filter((address) => !list.isDenied(address))).toEqual([]);
  });

  test("follow the exceptions made for that address", () => {
    const list = new DenyList(["10.1.0.0/16"], "decode");
    expect([list.isDenied("64:ff9b::10.1.2.3"), list.isDenied("64:ff9b::10.2.2.3")]).toEqual([false, true]);
    expect(new DenyList(["64:ff9b::/96"], "block").isDenied("64:ff9b::7f00:1")).toBe(false);
  });

  test("are taken in a URL and from DNS alike", async () => {
    const lookup = async () => ["64:ff9b::808:808", "64:ff9b::7f00:1"];
    const decoding = new AddressGuard({ privateTargets: "none", nat64: "decode", lookup });
    expect(decoding.checkUrl("http://[64:ff9b::8.8.8.8]/")).toBeNull();
    expect(decoding.checkUrl("http://[64:ff9b::127.0.0.1]/")).toMatch(/loopback/);
    expect(await decoding.resolve("shop.test", 80)).toEqual(["64:ff9b::808:808"]);
  });
});

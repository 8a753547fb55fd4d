// Owns where webhooks may go: a caller must not make Lapse reach into the network that it runs in. The URL is judged at create and again
// at send; every address that its host resolves to is judged at connect, by the same list, so that DNS cannot say otherwise in between.

import { type BlockList, isIP } from "node:net";
import { createDenyList } from "./deny-list.ts";

export const urlLengthMax = 2_048;

/** Which private targets are allowed: none, all (the guard is off), or those in a list of CIDRs and single addresses. */
export type PrivateTargets = "none" | "all" | readonly string[];

/** Below 1024 only these may be called; above, all but those of services that speak something else than webhooks. */
const lowPorts: ReadonlySet<number> = new Set([80, 443]);
const lowPortMax = 1_023;
const servicePorts: ReadonlySet<number> = new Set(
  [
    [1433, 1434, 1521, 3306, 5432, 5433, 6432, 26257], // SQL databases and their poolers
    [5984, 9042, 9160, 27017, 27018, 27019], // other databases
    [6379, 6380, 16379, 26379, 11211], // caches
    [1883, 2181, 4222, 4369, 5671, 5672, 9092, 25672, 61613, 61616], // brokers and their coordinators
    [9200, 9300], // search
    [2375, 2376, 2379, 2380, 6443, 8500, 10250, 10255], // Docker, etcd, Kubernetes, Consul
    [2049, 3389, 5900, 5985, 5986], // files and remote desktops
  ].flat(),
);

export interface AddressGuard {
  /** Asked of every address that is about to be connected to; null where the guard is off. */
  readonly denyList: BlockList | null;
  /** What is wrong with a webhook's URL, to follow the field's name, or null. A host that is a name is only judged at connect. */
  checkUrl(text: string): string | null;
}

export function createAddressGuard(privateTargets: PrivateTargets): AddressGuard {
  if (privateTargets === "all") return { denyList: null, checkUrl: (text) => checkForm(text) };
  const denyList = createDenyList(privateTargets === "none" ? [] : privateTargets);
  return { denyList, checkUrl: (text) => checkForm(text) ?? checkTarget(new URL(text), denyList) };
}

function checkForm(text: string): string | null {
  if (text.length > urlLengthMax) return `must be at most ${urlLengthMax} characters long`;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
    return "must be an absolute http or https URL";
  if (url.username !== "" || url.password !== "") return "must not hold a user name or password; use a header";
  return null;
}

/** The URL parser has brought every spelling of an address (hex, octal, short, mapped) into one form, and names into punycode. */
function checkTarget(url: URL, denyList: BlockList): string | null {
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const version = isIP(host);
  const isDenied = version === 0 ? isDeniedName(host, denyList) : denyList.check(host, version === 6 ? "ipv6" : "ipv4");
  if (isDenied) return "must not point to a loopback, private, link-local or reserved address";
  if (host.endsWith(".")) return "must not hold a host name with a trailing dot";
  if (!isAllowedPort(url.port))
    return `must not use port ${url.port}: 80, 443 and those from 1024 are allowed, without known services'`;
  return null;
}

/** `localhost` is this host whatever DNS says (RFC 6761, section 6.3), so it follows the loopback addresses. */
function isDeniedName(host: string, denyList: BlockList): boolean {
  const name = host.endsWith(".") ? host.slice(0, -1) : host;
  if (name !== "localhost" && !name.endsWith(".localhost")) return false;
  return denyList.check("127.0.0.1", "ipv4") && denyList.check("::1", "ipv6");
}

function isAllowedPort(text: string): boolean {
  if (text === "") return true;
  const port = Number(text);
  return port > lowPortMax ? !servicePorts.has(port) : lowPorts.has(port);
}

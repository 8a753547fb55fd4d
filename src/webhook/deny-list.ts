// Owns which addresses are not the public internet: IANA's special-purpose registries, multicast, and what clouds put behind public
// addresses. Everything is refused that is not known to be a unicast address of the internet.

import { BlockList, isIP } from "node:net";

const deniedIpv4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "168.63.129.16/32", // Azure's metadata and DNS
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
];

/** What is special inside 2000::/3, the only part of IPv6 that is global unicast. */
const deniedGlobalIpv6 = ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"];

/** Bits of 2000::/3 and of ::ffff:0:0/96, whose addresses are judged by the IPv4 address within. */
const globalUnicastPrefix = 3;
const mappedPrefix = 96;
const mapped = 0xffffn << 32n;

/**
 * What becomes of 64:ff9b::/96, behind which a NAT64 puts all of IPv4 (RFC 6052): denied, or judged by the address within, for networks
 * that reach IPv4 in no other way.
 */
export type Nat64 = "block" | "decode";

export class DenyList {
  readonly #denied = listOf([...deniedIpv4, ...deniedGlobalIpv6, ...outsideGlobalUnicast()]);
  readonly #allowed: BlockList;
  readonly #nat64: Nat64;

  /** Denies what is not public, without what `allowedCidrs` make an exception of. */
  constructor(allowedCidrs: readonly string[], nat64: Nat64) {
    this.#allowed = listOf(allowedCidrs);
    this.#nat64 = nat64;
  }

  /** Takes an address without brackets. What is none is denied: net.BlockList would know nothing of it, and so let it pass. */
  isDenied(address: string): boolean {
    const plain = withoutZone(address);
    if (isIP(plain) === 0) return true;
    if (this.allows(plain)) return false;
    const embedded = this.#nat64 === "decode" ? nat64Ipv4(plain) : null;
    return embedded === null ? holds(this.#denied, plain) : this.isDenied(embedded);
  }

  /** Whether an exception was made of it by name. */
  allows(address: string): boolean {
    return holds(this.#allowed, withoutZone(address));
  }
}

/** Each is `address/prefix`, or a single address; settings were checked when they were read, so anything else throws. */
export function listOf(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = "", prefix] = cidr.split("/");
    const family = address.includes(":") ? "ipv6" : "ipv4";
    list.addSubnet(address, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return list;
}

export function holds(list: BlockList, address: string): boolean {
  return list.check(address, address.includes(":") ? "ipv6" : "ipv4");
}

/** A link-local address may say by which interface it is meant. */
function withoutZone(address: string): string {
  return address.replace(/%.*$/, "");
}

/** The IPv4 address in the last 32 bits of 64:ff9b::/96, or null for any other address. The URL parser writes IPv6 in one form only. */
function nat64Ipv4(address: string): string | null {
  const written = new URL(`http://${address.includes(":") ? `[${address}]` : address}/`).hostname;
  const [match, high = "0", low = ""] = /^\[64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{0,4})\]$/.exec(written) ?? [];
  if (match === undefined) return null;
  return [high, low].flatMap((group) => [...Buffer.from(group.padStart(4, "0"), "hex")]).join(".");
}

/**
 * All of IPv6 but 2000::/3 and ::ffff:0:0/96: each step down the tree towards the latter leaves a sibling behind. One rule for it all,
 * such as ::/3, would deny every IPv4 address too, since Node compares those as mapped ones.
 */
function outsideGlobalUnicast(): string[] {
  const siblings: string[] = [];
  for (let prefix = 1; prefix <= mappedPrefix; prefix++) {
    if (prefix === globalUnicastPrefix) continue;
    const lastBit = 1n << BigInt(128 - prefix);
    const network = (mapped ^ lastBit) & ~(lastBit - 1n);
    siblings.push(`${ipv6Text(network)}/${prefix}`);
  }
  return siblings;
}

function ipv6Text(address: bigint): string {
  return (address.toString(16).padStart(32, "0").match(/.{4}/g) ?? []).join(":");
}

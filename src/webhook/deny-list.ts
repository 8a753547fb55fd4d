// Owns which addresses are not the public internet: IANA's special-purpose registries, multicast, and what clouds put behind public
// addresses. Everything is refused that is not known to be a unicast address of the internet.

import { BlockList, type IPVersion, type SocketAddress } from "node:net";

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

/** A list of what is denied, without what `allowedCidrs` make an exception of. */
export function createDenyList(allowedCidrs: readonly string[]): BlockList {
  const denied = new ExceptingBlockList(allowedCidrs);
  for (const cidr of [...deniedIpv4, ...deniedGlobalIpv6, ...outsideGlobalUnicast()]) addCidr(denied, cidr);
  return denied;
}

/** Takes `address/prefix`, or a single address; settings were checked when they were read, so anything else throws. */
function addCidr(list: BlockList, cidr: string): void {
  const [address = "", prefix] = cidr.split("/");
  const family = address.includes(":") ? "ipv6" : "ipv4";
  list.addSubnet(address, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
}

/** net.BlockList has no exceptions of its own; whoever connects asks `check` alone. */
class ExceptingBlockList extends BlockList {
  readonly #allowed = new BlockList();

  constructor(allowedCidrs: readonly string[]) {
    super();
    for (const cidr of allowedCidrs) addCidr(this.#allowed, cidr);
  }

  override check(address: SocketAddress): boolean;
  override check(address: string, family?: IPVersion): boolean;
  override check(address: SocketAddress | string, family?: IPVersion): boolean {
    if (typeof address !== "string") return super.check(address) && !this.#allowed.check(address);
    return super.check(address, family) && !this.#allowed.check(address, family);
  }
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

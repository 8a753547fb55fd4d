// Owns where webhooks may go: a caller must not make Lapse reach into the network that it runs in. The URL is judged at create and again
// at send; every address that its host resolves to is judged at connect, by the same rules, so that DNS cannot say otherwise in between.

import { isIP } from "node:net";
import { DenyList, type Nat64 } from "./deny-list.ts";
import { keepingLookup, type Lookup, systemLookup } from "./host-lookup.ts";
import { isLocalhost, OwnEndpoints } from "./own-endpoints.ts";
import { readTarget, type Target } from "./target.ts";

/** Which private targets are allowed: none, all but Lapse's own, or those in a list of CIDRs and single addresses. */
export type PrivateTargets = "none" | "all" | readonly string[];

export interface GuardParts {
  readonly privateTargets: PrivateTargets;
  readonly nat64?: Nat64;
  readonly own?: OwnEndpoints;
  readonly lookup?: Lookup;
}

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

export class AddressGuard {
  /** Null: every address may be called that is not Lapse's own. */
  readonly #denyList: DenyList | null;
  readonly #own: OwnEndpoints;
  readonly #lookup: Lookup;

  constructor({ privateTargets, nat64 = "block", own = new OwnEndpoints(), lookup = systemLookup }: GuardParts) {
    const allowed = privateTargets === "none" || privateTargets === "all" ? [] : privateTargets;
    this.#denyList = privateTargets === "all" ? null : new DenyList(allowed, nat64);
    this.#own = own;
    this.#lookup = keepingLookup(lookup);
  }

  /** What is wrong with a webhook's URL, to follow the field's name, or null. A host that is a name is only judged at connect. */
  checkUrl(text: string): string | null {
    const form = readTarget(text);
    return "fault" in form ? form.fault : this.checkTarget(form.target);
  }

  /**
   * The addresses of a host, a name or a literal, that may be connected to at this port: none where all are denied. Rejects with Node's
   * error where the name cannot be looked up.
   */
  async resolve(host: string, port: number): Promise<readonly string[]> {
    const addresses = isIP(host) === 0 ? await this.#lookup(host) : [host];
    const judged = await Promise.all(
      addresses.map(async (address) => ({ address, isAllowed: await this.#isAllowed(address, port) })),
    );
    return judged.filter(({ isAllowed }) => isAllowed).map(({ address }) => address);
  }

  async #isAllowed(address: string, port: number): Promise<boolean> {
    if (this.#denyList?.isDenied(address)) return false;
    return this.#denyList?.allows(address) || !(await this.#own.includes(address, port, this.#lookup));
  }

  /** The same for a URL that was read. */
  checkTarget(target: Target): string | null {
    const host = hostOf(target);
    const denyList = this.#denyList;
    const fault = denyList === null ? null : deniedFault(target, denyList);
    // Of what is denied anyway nobody is told whether it is Lapse's own: where its stores are is no caller's to know.
    if (fault !== null) return fault;
    const isOwn = !denyList?.allows(host) && this.#own.has(host, portOf(target));
    return isOwn ? "must not point to Lapse itself or its stores" : null;
  }
}

function deniedFault(target: Target, denyList: DenyList): string | null {
  const host = hostOf(target);
  const isDenied = isIP(host) === 0 ? isDeniedName(host, denyList) : denyList.isDenied(host);
  if (isDenied) return "must not point to a loopback, private, link-local or reserved address";
  if (host.endsWith(".")) return "must not hold a host name with a trailing dot";
  if (!isAllowedPort(target.port))
    return `must not use port ${target.port}: 80, 443 and those from 1024 are allowed, without known services'`;
  return null;
}

/** Of a URL that was parsed: an address without brackets, or a name. */
export function hostOf({ hostname }: { hostname: string }): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

/** The URL parser leaves a scheme's own port out. */
export function portOf({ protocol, port }: { protocol: string; port: string }): number {
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

/** `localhost` follows the loopback addresses, whatever DNS says. */
function isDeniedName(host: string, denyList: DenyList): boolean {
  return isLocalhost(host) && denyList.isDenied("127.0.0.1") && denyList.isDenied("::1");
}

function isAllowedPort(text: string): boolean {
  if (text === "") return true;
  const port = Number(text);
  return port > lowPortMax ? !servicePorts.has(port) : lowPorts.has(port);
}

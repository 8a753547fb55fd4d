// Owns which addresses are Lapse's own: its API, its PostgreSQL and its Redis, to which no webhook may go, whatever else is allowed.

import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { holds, listOf } from "./deny-list.ts";
import type { Lookup } from "./host-lookup.ts";

export interface Endpoint {
  /** An address without brackets, or a name. */
  readonly host: string;
  readonly port: number;
}

const unspecified = ["0.0.0.0", "::"];
const loopback = ["127.0.0.0/8", "::1"];

export class OwnEndpoints {
  readonly #endpoints: Endpoint[] = [];
  readonly #more: () => readonly Endpoint[];

  /** `more` is asked each time, for those that come and go. */
  constructor(more: () => readonly Endpoint[] = () => []) {
    this.#more = more;
  }

  add({ host, port }: Endpoint): void {
    this.#endpoints.push({ host: host.toLowerCase(), port });
  }

  /** Takes a URL of any scheme that names a host. */
  addUrl(url: string, defaultPort: number): void {
    const { hostname, port } = new URL(url);
    this.add({ host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port) || defaultPort });
  }

  /** Whether a URL with this host and port points here, as far as can be said without looking anything up. */
  has(host: string, port: number): boolean {
    const own = this.#at(port);
    // Nearly always: a list of addresses takes longer to make than the whole rest of judging a URL.
    if (own.length === 0) return false;
    return (
      own.includes(host) || knownAddresses(host).some((address) => isReachedBy(own.flatMap(knownAddresses), address))
    );
  }

  /** The same for an address that is about to be connected to: names of ours count by what they resolve to now. */
  async includes(address: string, port: number, lookup: Lookup): Promise<boolean> {
    const resolved = this.#at(port).map(async (own) => {
      const known = knownAddresses(own);
      return known.length > 0 ? known : await lookup(own).catch(() => []);
    });
    return isReachedBy((await Promise.all(resolved)).flat(), address);
  }

  #at(port: number): string[] {
    return [...this.#endpoints, ...this.#more()].filter((own) => own.port === port).map(({ host }) => host);
  }
}

/** `localhost` is this host whatever DNS says (RFC 6761, section 6.3); of other names nothing is known. */
function knownAddresses(host: string): string[] {
  if (isIP(host) !== 0) return [host];
  return isLocalhost(host) ? ["127.0.0.1", "::1"] : [];
}

export function isLocalhost(host: string): boolean {
  return /^(.*\.)?localhost\.?$/.test(host);
}

/** What listens on all addresses is reached by each of this machine's; what listens on loopback also by the unspecified address. */
function isReachedBy(listening: readonly string[], address: string): boolean {
  const reaching = listening.flatMap((own) => {
    if (unspecified.includes(own)) return [...unspecified, ...loopback, ...interfaceAddresses()];
    return holds(listOf(loopback), own) ? [own, ...unspecified] : [own];
  });
  return holds(listOf(reaching), address);
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
}

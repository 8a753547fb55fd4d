// Owns the TCP fault proxy: stands between a process and a server, and makes the network between them as bad as it is told to be.

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { WriteWatch } from "./postgres-wire.ts";

/** How bad it is. Faults hold for connections that stand and for new ones alike, until the next `set`. */
export type NetworkFault =
  | { readonly kind: "none" }
  /** Each piece is late by so much, each way. */
  | { readonly kind: "slow"; readonly delayMs: number }
  /** No faster than this, each way and for all connections together. */
  | { readonly kind: "throttled"; readonly bytesPerSecond: number }
  /** Packets wait, and arrive once the network is mended, as TCP sends them again. */
  | { readonly kind: "stalled" }
  /** Packets vanish both ways while the sockets stay open; what was open by then never works again (a lost NAT entry). */
  | { readonly kind: "half-open" }
  /** Nobody gets through: what stands is reset, what comes is refused. */
  | { readonly kind: "refused" }
  /** PostgreSQL: every `every`-th write has committed at the server when its connection is reset, before its answer comes back. */
  | { readonly kind: "cut-after-commit"; readonly every: number };

export interface FaultProxy {
  readonly port: number;
  readonly connectionCount: number;
  /** How many writes were committed and never answered. */
  readonly cutCount: number;
  set(fault: NetworkFault): void;
  /** Where new connections lead; those that stand are reset. */
  retarget(port: number): void;
  /** Resets every connection that stands. */
  reset(): void;
  close(): Promise<void>;
}

const none: NetworkFault = { kind: "none" };
const tickMs = 20;

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** What was sent into a network that drops it: the connection is of no use any more, and neither end knows. */
  isDead: boolean;
}

interface Way {
  readonly from: Socket;
  readonly to: Socket;
  /** Whether the piece ends the answer to a committed write. */
  readonly saw: (piece: Buffer) => boolean;
}

/** `protocol`: what it carries; only of PostgreSQL does it know when a write has committed. */
export async function startProxy(targetPort: number, protocol: "postgres" | "redis"): Promise<FaultProxy> {
  const proxy = new Proxy(targetPort, protocol);
  await proxy.listen();
  return proxy;
}

class Proxy implements FaultProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #protocol: "postgres" | "redis";
  #targetPort: number;
  #fault: NetworkFault = none;
  #writeCount = 0;
  #cutCount = 0;
  /** Resolves when the fault ends that holds packets back. */
  #mended = Promise.withResolvers<void>();
  /** When the line is free again, by the monotonic clock. */
  #lineFreeMs = 0;

  constructor(targetPort: number, protocol: "postgres" | "redis") {
    this.#targetPort = targetPort;
    this.#protocol = protocol;
    this.#server = createServer({ noDelay: true }, (near) => this.#accept(near));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connectionCount(): number {
    return this.#links.size;
  }

  get cutCount(): number {
    return this.#cutCount;
  }

  set(fault: NetworkFault): void {
    this.#fault = fault;
    if (fault.kind === "refused") this.reset();
    if (fault.kind === "half-open") for (const link of this.#links) link.isDead = true;
    this.#mended.resolve();
    this.#mended = Promise.withResolvers();
  }

  retarget(port: number): void {
    this.#targetPort = port;
    this.reset();
  }

  reset(): void {
    for (const link of this.#links) cut(link);
  }

  async close(): Promise<void> {
    this.set({ kind: "none" });
    this.reset();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(near: Socket): void {
    if (this.#fault.kind === "refused") return void near.on("error", () => undefined).resetAndDestroy();
    const far = connect({ port: this.#targetPort, host: "127.0.0.1", noDelay: true });
    const link: Link = { near, far, isDead: this.#fault.kind === "half-open" };
    this.#links.add(link);
    // Only what the client asked tells what an answer ends.
    const watch = this.#protocol === "postgres" ? new WriteWatch() : null;
    this.#carry(link, { from: near, to: far, saw: (piece) => watch?.ask(piece) ?? false });
    this.#carry(link, { from: far, to: near, saw: (piece) => watch?.saw(piece) ?? false });
    for (const socket of [near, far]) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        if (near.destroyed && far.destroyed) this.#links.delete(link);
      });
    }
  }

  /** Pieces go one after the other, each through whatever the network is when it comes to it. */
  #carry(link: Link, { from, to, saw }: Way): void {
    let last: Promise<unknown> = Promise.resolve();
    const passOn = async (piece: Buffer, isWrite: boolean): Promise<void> => {
      await last;
      if (await this.#pass(link, piece, isWrite)) to.write(piece);
      from.resume();
    };
    const endOnceIdle = async (): Promise<void> => {
      await last;
      if (!link.isDead) to.end();
    };
    from.on("data", (piece: Buffer) => {
      from.pause();
      last = passOn(piece, saw(piece));
    });
    // What was sent before a goodbye still arrives before it. Into a network that drops packets a goodbye vanishes, too.
    for (const goodbye of ["end", "close"])
      from.on(goodbye, () => {
        last = endOnceIdle();
      });
  }

  /** False where the piece never arrives. */
  async #pass(link: Link, piece: Buffer, isWrite: boolean): Promise<boolean> {
    while (this.#fault.kind === "stalled") await this.#mended.promise;
    const fault = this.#fault;
    if (link.isDead) return false;
    if (fault.kind === "slow") await sleep(fault.delayMs);
    if (fault.kind === "throttled") await this.#queueFor(piece.length, fault.bytesPerSecond);
    if (fault.kind !== "cut-after-commit" || !isWrite) return !link.isDead;
    this.#writeCount += 1;
    if (this.#writeCount % fault.every !== 0) return true;
    this.#cutCount += 1;
    cut(link);
    return false;
  }

  async #queueFor(bytes: number, bytesPerSecond: number): Promise<void> {
    const now = performance.now();
    this.#lineFreeMs = Math.max(now, this.#lineFreeMs) + (bytes / bytesPerSecond) * 1_000;
    const waitMs = this.#lineFreeMs - now;
    if (waitMs > tickMs) await sleep(waitMs);
  }
}

function cut({ near, far }: Link): void {
  near.resetAndDestroy();
  far.destroy();
}

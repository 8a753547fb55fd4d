// Owns the calls between the benchmark and its child processes.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const endMsMax = 20_000;

interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}
type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

/** A child process that answers calls. */
export class Remote {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #calls = 0;

  constructor(file: URL, args: readonly string[]) {
    this.#child = fork(file, args);
    this.#child.on("message", (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ("error" in reply) waiting?.reject(new Error(`${args.join(" ")}: ${reply.error}`));
      else waiting?.resolve(reply.value);
    });
    this.#child.on("exit", (code, signal) => {
      const error = new Error(`${args.join(" ")}: the process ended (${code ?? signal})`);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Rejects where the child does, or ends. */
  call<Value>(method: string, argument: unknown = null): Promise<Value> {
    const id = (this.#calls += 1);
    return new Promise<Value>((resolve, reject) => {
      this.#waiting.set(id, { resolve: (value) => resolve(value as Value), reject });
      this.#child.send({ id, method, argument } satisfies Call);
    });
  }

  /** Lets the child clean up, for a while, then ends it, whatever comes of that. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    try {
      await Promise.race([this.call("end"), sleep(endMsMax, null, { ref: false })]);
    } catch {
      // What it was asked for is measured already.
    } finally {
      this.#child.kill("SIGKILL");
      await exited;
    }
  }
}

/** Answers the parent's calls; ends with it. */
export function serveCalls(methods: Readonly<Record<string, (argument: never) => Promise<unknown>>>): void {
  process.on("message", (message: Call) => {
    void answer(message).then((reply) => process.send?.(reply));
  });
  process.on("disconnect", () => process.exit(1));

  async function answer({ id, method, argument }: Call): Promise<Reply> {
    try {
      const run = methods[method];
      if (run === undefined) throw new Error(`there is no ${method} here`);
      return { id, value: await run(argument as never) };
    } catch (error) {
      return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }
}

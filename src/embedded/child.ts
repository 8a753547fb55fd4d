// Owns a server run as a child: it outlives signals sent to our process group, and never outlives us.

import { type ChildProcess, spawn } from "node:child_process";
import type { ServerUser } from "./server-user.ts";

/** Ends a child whose parent died without a word (kill -9): the pipe on its standard input closes then. */
const guardScript = 'read -r _; kill -s "$2" "$1" 2>/dev/null';

export interface ChildOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** The child's whole environment: ours is not handed down, since it may hold secrets. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Whom it runs as; null for ourselves. */
  readonly user: ServerUser | null;
  /** An open file for its standard output and error. A pipe would block the child while we are stopped. */
  readonly logFd: number;
  /** Written to its standard input, which is then closed. */
  readonly input?: string;
  /** What ends it when we die first. */
  readonly guardSignal: "INT" | "KILL";
}

export interface Child {
  readonly pid: number;
  /** Resolves, never rejects, once the process has ended. */
  readonly exited: Promise<void>;
  readonly hasExited: () => boolean;
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts a child in a session of its own, so that Ctrl-C reaches us alone and we drain before it goes.
 * Rejects where the program cannot be run at all.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const { user, logFd } = options;
  const child = spawn(options.program, options.args, {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: [options.input === undefined ? "ignore" : "pipe", logFd, logFd],
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.stdin?.on("error", () => undefined); // It may have ended before it read its input; `exited` says so.
  child.stdin?.end(options.input);
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${options.program} was spawned without a process id`);

  let ended = child.exitCode !== null || child.signalCode !== null;
  const guard = startGuard(pid, options.guardSignal);
  const exited = new Promise<void>((resolve) => {
    const end = (): void => {
      ended = true;
      guard.kill("SIGKILL"); // Before the pid can be given to another process.
      resolve();
    };
    if (ended) end();
    else child.once("exit", end);
  });
  return { pid, exited, hasExited: () => ended, kill: (signal) => void child.kill(signal) };
}

/** Starts the process that sends the signal once we are gone; to be killed when the child has ended. */
export function startGuard(pid: number, signal: "INT" | "KILL"): ChildProcess {
  const guard = spawn("/bin/sh", ["-c", guardScript, "lapse-guard", String(pid), signal], {
    cwd: "/",
    env: {},
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.on("error", () => undefined); // No shell (Windows): the child is then ended by stop() alone.
  guard.stdin.on("error", () => undefined);
  guard.unref();
  return guard;
}

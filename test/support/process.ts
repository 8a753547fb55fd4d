// Owns Lapse as a process of its own, as a user runs it: `node src/main.ts` with an environment, on a free port.
// None outlives the tests: a guard ends it when its parent dies, however it dies.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const projectFolder = fileURLToPath(new URL("../..", import.meta.url));
const readyLine = /^lapse: listening on (http:\/\/\S+)$/;
/** The pipe on its standard input closes when we die, also by kill -9; a process that is stopped (SIGSTOP) ends all the same. */
const guardScript = 'read -r _; kill -s KILL "$1" 2>/dev/null';
/** Names the folder where compiled code is kept for the processes to come. */
export const codeFolderVariable = "TEST_CODE_FOLDER";
const shownLines = 30;
/** The embedded servers may have to be made first, on a slow machine. */
const listenMsMax = 120_000;

export interface LapseExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface LapseProcess {
  readonly url: string;
  readonly pid: number;
  /** Lines of standard error so far: its log. */
  readonly lines: readonly string[];
  /** Lines of standard output so far. */
  readonly printed: readonly string[];
  /** Resolves, never rejects, once the process has ended. */
  readonly exited: Promise<LapseExit>;
  kill(signal: NodeJS.Signals): void;
  /** kill -9 where it still runs, also where it is stopped. */
  end(): Promise<void>;
}

export interface LapseOptions {
  /** Beside PATH, a free PORT and HOST: nothing of our own environment is handed down. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the checkout is; another one for a machine that lacks something. */
  readonly folder?: string;
}

/** Starts a process; resolves once it says that it listens. Rejects with the end of its log where it ends before, or does neither in time. */
export async function startLapse({ env, folder = projectFolder }: LapseOptions): Promise<LapseProcess> {
  const child = spawn(process.execPath, ["src/main.ts"], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", HOST: "127.0.0.1", PORT: "0", ...compiled(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("node was spawned without a process id");
  const lines: string[] = [];
  createInterface(child.stderr).on("line", (line) => lines.push(line));
  const exited = guarded(child, pid);
  const printed: string[] = [];
  const late = setTimeout(() => {
    lines.push(`It did not listen within ${listenMsMax} ms, and was killed`);
    child.kill("SIGKILL");
  }, listenMsMax);
  const url = await Promise.race([readUrl(child, printed), exited.then(() => null)]);
  clearTimeout(late);
  if (url === null) throw new Error(`Lapse ended before it listened:\n${lines.slice(-shownLines).join("\n")}`);
  const kill = (signal: NodeJS.Signals): void => void child.kill(signal);
  return {
    url,
    pid,
    lines,
    printed,
    exited,
    kill,
    end: async () => {
      kill("SIGKILL");
      await exited;
    },
  };
}

/** Half of what a start costs is reading and compiling. */
function compiled(): Record<string, string> {
  const folder = process.env[codeFolderVariable];
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder };
}

async function guarded(child: ChildProcess, pid: number): Promise<LapseExit> {
  const guard = spawn("/bin/sh", ["-c", guardScript, "lapse-test-guard", String(pid)], {
    env: {},
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.stdin.on("error", () => undefined);
  guard.unref();
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  guard.kill("SIGKILL"); // Before the pid can be given to another process.
  return { code: child.exitCode, signal: child.signalCode };
}

function readUrl(child: ChildProcess, printed: string[]): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error("the process has no standard output");
  return new Promise((resolve) => {
    createInterface(stdout).on("line", (line) => {
      printed.push(line);
      const url = readyLine.exec(line)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
}

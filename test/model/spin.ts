// Owns running the model checker: one configuration of the model, searched to its end in a folder of its own.

import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCompiler, findSpin } from "../../scripts/setup/test-tools.ts";

const modelFolder = fileURLToPath(new URL(".", import.meta.url));
/** The deepest run has some 200 steps; one that is deeper than this would be cut off, and the search be incomplete. */
const depthMax = 10_000;
const memoryMbMax = 4_000;
/** Of the table of states, as a power of two: no bound, only speed. */
const hashBits = 22;
/** Of spin's output that is kept: a counterexample has some hundred lines. */
const outputBytesMax = 64 * 1024 * 1024;
/** The end of a counterexample that a failing test prints. */
const stepsShownMax = 60;

const stepPattern = /^\s*\d+:\s+proc/;
const noisePattern = /\(:init:|\[\.\(goto\)\]|sub-sequence|\[IF\]|\[printf|<valid end/;

/** A part of the model to be taken out: a text that stands in the file once. */
export interface Mutation {
  readonly file: string;
  readonly takeOut: string;
  readonly putIn?: string;
}

export interface ModelRun {
  /** A file of this folder. `progress` has, beside assertions, a claim: that every run ends well. */
  readonly model: "fences" | "progress" | "strays";
  readonly attemptsMax?: number;
  readonly mutation?: Mutation;
}

export interface Verdict {
  /** Null: the search found no violation. */
  readonly violation: Violation | null;
  /** All states were visited, none cut off by depth or memory. */
  readonly isComplete: boolean;
  readonly states: number;
  readonly seconds: number;
  readonly megabytes: number;
  /** Steps of the model that no run takes, as `file:line`. */
  readonly unreached: readonly string[];
}

export interface Violation {
  /** The assertion that was violated, with the promises that its comment names; or the name of the claim. */
  readonly what: string;
  /** What happened, in words, and the last steps as spin replays them. */
  readonly story: string;
}

/** Builds and runs the search. Rejects where a program is missing or the model cannot be built. */
export async function check(run: ModelRun): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), "lapse-model-"));
  try {
    cpSync(modelFolder, folder, { recursive: true, filter: (path) => !path.endsWith(".ts") });
    if (run.mutation !== undefined) mutate(folder, run.mutation);
    const spin = spinCall(run);
    await execute(folder, findSpin(), [...spin, "-a", `${run.model}.pml`]);
    const compiler = findCompiler();
    const hasClaim = run.model === "progress";
    // What a mutation breaks is found early: there the compiler would take longer than the search.
    const effort = run.mutation === undefined ? "-O2" : "-O0";
    const defines = [hasClaim ? "-DNOFAIR" : "-DSAFETY", "-DNOREDUCE", `-DMEMLIM=${memoryMbMax}`];
    await execute(folder, compiler.program, [
      ...compiler.options,
      "-w",
      effort,
      ...defines,
      "-o",
      "pan",
      "pan.c",
      ...compiler.libraries,
    ]);
    const output = await execute(folder, "./pan", [...(hasClaim ? ["-a"] : []), `-m${depthMax}`, `-w${hashBits}`]);
    const trail = [`${run.model}.pml`, `_${run.model}.pml`].find((name) => existsSync(join(folder, `${name}.trail`)));
    const violation = trail === undefined ? null : await tell({ folder, spin, model: run.model, output });
    return { violation, ...readFigures(output) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function mutate(folder: string, { file, takeOut, putIn = "" }: Mutation): void {
  const path = join(folder, file);
  const parts = readFileSync(path, "utf8").split(takeOut);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${takeOut}`);
  writeFileSync(path, parts.join(putIn));
}

/** Spin calls its preprocessor by a shell. Statements are not merged (`-o3`), so that each says whether it was reached. */
function spinCall({ attemptsMax = 2 }: ModelRun): string[] {
  const { program, options } = findCompiler();
  const words = [program, ...options, "-E", "-x", "c"];
  return [`-P${words.map((word) => `'${word}'`).join(" ")}`, "-o3", `-DATTEMPTS=${attemptsMax}`];
}

function readFigures(output: string): Omit<Verdict, "violation"> {
  const figure = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  const unreached = [...output.matchAll(/^\s+(\S+:\d+), state \d+, "(.*)"$/gm)];
  return {
    isComplete:
      output.includes("Full statespace search") && !/not completed|too small|out of memory|aborted/.test(output),
    states: figure(/([\d.e+]+) states, stored/),
    seconds: figure(/elapsed time ([\d.e+-]+) seconds/),
    megabytes: figure(/([\d.]+)\s+total actual memory usage/),
    unreached: unreached.flatMap(([, place, step]) => (step === "-end-" ? [] : [place ?? ""])),
  };
}

interface Found {
  readonly folder: string;
  readonly spin: readonly string[];
  readonly model: string;
  readonly output: string;
}

/** Replays the counterexample: what its steps print tells the story, and the last of them are shown as spin sees them. */
async function tell({ folder, spin, model, output }: Found): Promise<Violation> {
  const said = await execute(folder, findSpin(), [...spin, "-t", "-B", `${model}.pml`]);
  const replayed = await execute(folder, findSpin(), [...spin, "-t", "-p", `${model}.pml`]);
  const [, file = "", line = "0"] = /^spin: (\S+\.pml):(\d+), Error: assertion violated/m.exec(replayed) ?? [];
  const violated = file === "" ? "" : readFileSync(join(folder, file), "utf8").split("\n")[Number(line) - 1];
  const events = said.split("\n").filter((text) => /^\s+(task|dispatcher|Redis) /.test(text));
  const steps = replayed.split("\n").filter((text) => stepPattern.test(text) && !noisePattern.test(text));
  return {
    what: violated?.trim() || `claim ${/never claim\s+\+ \((\w+)\)/.exec(output)?.[1] ?? "unknown"}`,
    story: [...events.map((text) => text.trim()), "", ...steps.slice(-stepsShownMax)].join("\n"),
  };
}

/** What a program wrote. A violation is no failure: pan exits with 0 for it. */
function execute(cwd: string, program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, encoding: "utf8", maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${program} ${args.join(" ")}: ${error.message}\n${stdout}${stderr}`, { cause: error }));
    });
  });
}

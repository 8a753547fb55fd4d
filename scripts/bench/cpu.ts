// Owns what work cost the processors: on a machine that does other things, too, it says more than how long the work took.

import { readdirSync, readFileSync } from "node:fs";

/** Of Linux: a hundredth of a second, whatever the kernel's own tick. */
const tickUs = 10_000;

/** CPU time so far, in µs. */
export interface CpuTimes {
  /** What fires; for Lapse and the limit also what answers callers. */
  readonly worker: number;
  readonly callers: number;
  readonly postgres: number;
  readonly redis: number;
}

export type CpuRoots = Readonly<Record<keyof CpuTimes, number>>;

/** Of the processes of these ids, with all that they started. Null where there is no /proc. */
export function readCpu(roots: CpuRoots): CpuTimes | null {
  const processes = readProcesses();
  if (processes === null) return null;
  const total = (root: number): number => {
    const own = processes.get(root);
    if (own === undefined) return 0;
    const children = [...processes].filter(([, { parent }]) => parent === root).map(([pid]) => pid);
    return own.us + children.reduce((sum, child) => sum + total(child), 0);
  };
  return mapCpu((part) => total(roots[part]));
}

/** 0 where it cannot be known. */
export function parentOf(pid: number): number {
  return readStat(String(pid))?.parent ?? 0;
}

export function subtractCpu(after: CpuTimes, before: CpuTimes): CpuTimes {
  return mapCpu((part) => after[part] - before[part]);
}

/** Of each part what is said of it. */
export function mapCpu(of: (part: keyof CpuTimes) => number): CpuTimes {
  return { worker: of("worker"), callers: of("callers"), postgres: of("postgres"), redis: of("redis") };
}

interface Process {
  readonly parent: number;
  /** Its own, and that of its children which have ended. */
  readonly us: number;
}

function readProcesses(): ReadonlyMap<number, Process> | null {
  const processes = new Map<number, Process>();
  try {
    for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
      const stat = readStat(name);
      if (stat !== null) processes.set(Number(name), stat);
    }
  } catch {
    return null;
  }
  return processes;
}

/** By proc(5), after the command's closing bracket: parent is the 2nd field, utime to cstime are the 12th to 15th. */
function readStat(pid: string): Process | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null; // It has ended meanwhile.
  }
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + field, 0);
  return { parent: fields[1] ?? 0, us: ticks * tickUs };
}

// Owns the benchmark's output: markdown that the README takes as it is.

import { type Comparison, type Plan, type Samples } from "./compare.ts";
import { type ContenderName, contenders, isPeer } from "./contenders.ts";
import { type Column, type Figure, type FigureName, figures, type Sample } from "./figures.ts";
import { mapCpu } from "./cpu.ts";
import { machineLine } from "./machine.ts";
import { type Summary, summarize } from "./statistics.ts";

/** The whole comparison: what ran, an overview, and a table a figure. */
export function reportComparison({ samples, servers, failures }: Comparison, plan: Plan): string {
  const measured = (Object.keys(figures) as readonly FigureName[]).filter((name) => plan.figures.includes(name));
  return [
    `${machineLine()}. Rounds: ${plan.sizes.rounds}, in which the contenders take turns; given are the median (least to most).`,
    "Ratios are Lapse's figure divided by the other's; of latenesses and bytes less is better.",
    "CPU: µs of the processors for each, of what fires (with the HTTP service, where it is one), the callers, PostgreSQL and Redis.",
    ...servers.map((line) => `- ${line}`),
    ...failures.map((failure) => `- FAILED: ${failure}`),
    "",
    ...overview(measured, samples),
    "",
    ...measured.flatMap((name) => [...tableOf(name, samples, plan), ""]),
    ...plan.contenders.map((name) => `- ${contenders[name].label}: ${contenders[name].settings}`),
  ].join("\n");
}

function overview(measured: readonly FigureName[], samples: Samples): readonly string[] {
  const rows = measured.flatMap((name) =>
    Object.entries<Column>(figures[name].columns).map(([value, column]) => {
      const medians = mediansOf(samples[name], value);
      const lapse = medians.get("lapse");
      const isRival = (peer: ContenderName): boolean =>
        isPeer(peer) && (contenders[peer].keepsOutcomes || !figures[name].needsOutcomes);
      const isOnDisk = (peer: ContenderName): boolean => isRival(peer) && contenders[peer].keeps === "PostgreSQL";
      const peers = [best(medians, column, isOnDisk), best(medians, column, isRival)];
      const medianOf = (peer: ContenderName | null): number | undefined =>
        peer === null ? undefined : medians.get(peer);
      const cells = [
        cell(lapse, column),
        ...peers.map((peer) => (peer === null ? "–" : `${contenders[peer].label}: ${cell(medians.get(peer), column)}`)),
        ...[...peers, "limit" as const].map((other) => ratioCell(lapse, medianOf(other))),
      ];
      return `| ${figures[name].title}${value === "perSecond" ? "" : `: ${value}`} | ${cells.join(" | ")} |`;
    }),
  );
  return [
    "| | Lapse | best peer on PostgreSQL | best peer | Lapse to the former | to the latter | to the limit |",
    "| --- | --: | --- | --- | --: | --: | --: |",
    ...rows,
  ];
}

function tableOf(name: FigureName, samples: Samples, plan: Plan): readonly string[] {
  const figure: Figure = figures[name];
  const columns = Object.entries(figure.columns);
  const rows = plan.contenders.flatMap((contender) => {
    const taken = samples[name][contender];
    if (taken === undefined) return [];
    const cells = columns.flatMap(([value, column]) => {
      const summary = summaryOf(taken, value);
      const lapse = mediansOf(samples[name], value).get("lapse");
      return [spread(summary, column), contender === "lapse" ? "" : ratioCell(lapse, summary?.median)];
    });
    const counted = taken.reduce((sum, sample) => sum + sample.counted, 0);
    return [`| ${contenders[contender].label} | ${cells.join(" | ")} | ${cpuCell(taken)} | ${number(counted)} |`];
  });
  const heads = columns.flatMap(([value, { unit }]) => [
    value === "perSecond" ? unit : `${value}, ${unit}`,
    "Lapse is",
  ]);
  return [
    `**${figure.title}** (${figure.rule})`,
    "",
    `| | ${heads.join(" | ")} | CPU, µs each | counted |`,
    `| --- |${" --: |".repeat(heads.length + 2)}`,
    ...rows,
    ...notesOf(samples[name]),
  ];
}

/** Medians: what fires, its callers, PostgreSQL and Redis. */
function cpuCell(taken: readonly Sample[]): string {
  const times = taken.flatMap(({ cpu }) => (cpu === null ? [] : [cpu]));
  if (times.length === 0) return "–";
  const median = mapCpu((part) => summarize(times.map((time) => time[part])).median);
  return [median.worker, median.callers, median.postgres, median.redis].map(number).join(" + ");
}

function notesOf(bySubject: Samples[FigureName]): readonly string[] {
  const notes = entriesOf(bySubject).flatMap(([contender, taken]) =>
    taken.flatMap((sample, round) =>
      sample.notes.map((note) => `- ${contenders[contender].label}, round ${round + 1}: ${note}`),
    ),
  );
  return notes.length === 0 ? [] : ["", ...notes];
}

/** Only of those of whom the value says something. */
function mediansOf(bySubject: Samples[FigureName], value: string): ReadonlyMap<ContenderName, number> {
  return new Map(
    entriesOf(bySubject).flatMap(([contender, taken]) => {
      const summary = summaryOf(taken, value);
      return summary === null ? [] : [[contender, summary.median] as const];
    }),
  );
}

function summaryOf(taken: readonly Sample[], value: string): Summary | null {
  const values = taken.flatMap((sample) => sample.values[value] ?? []);
  return values.length === 0 ? null : summarize(values);
}

function entriesOf(bySubject: Samples[FigureName]): readonly (readonly [ContenderName, readonly Sample[]])[] {
  return Object.entries(bySubject) as [ContenderName, readonly Sample[]][];
}

/** Null where nobody of them was measured. */
function best(
  medians: ReadonlyMap<ContenderName, number>,
  { better }: Column,
  isMeant: (name: ContenderName) => boolean,
): ContenderName | null {
  const sorted = [...medians].filter(([name]) => isMeant(name)).toSorted(([, a], [, b]) => a - b);
  return (better === "less" ? sorted.at(0) : sorted.at(-1))?.[0] ?? null;
}

function ratioCell(lapse: number | undefined, other: number | undefined): string {
  return lapse === undefined || other === undefined || other === 0 ? "–" : `${(lapse / other).toFixed(2)} ×`;
}

function spread(summary: Summary | null, column: Column): string {
  if (summary === null) return "–";
  const { min, median, max } = summary;
  return min === max ? cell(median, column) : `${cell(median, column)} (${cell(min, column)} to ${cell(max, column)})`;
}

function cell(value: number | undefined, { unit }: Column): string {
  if (value === undefined) return "–";
  return unit === "ms" ? value.toFixed(1) : number(value);
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}

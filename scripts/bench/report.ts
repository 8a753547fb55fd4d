// Owns the benchmark's output: markdown that the README takes as it is.

import { type Comparison, type Plan, type Samples } from "./compare.ts";
import { type ContenderName, contenders, isPeer } from "./contenders.ts";
import { type Column, type Figure, type FigureName, figures, type Sample } from "./figures.ts";
import { machineLine } from "./rig.ts";
import { type Summary, summarize } from "./statistics.ts";

/** The whole comparison: what ran, an overview, and a table a figure. */
export function reportComparison({ samples, servers }: Comparison, plan: Plan): string {
  const measured = (Object.keys(figures) as readonly FigureName[]).filter((name) => plan.figures.includes(name));
  return [
    `${machineLine()}. Rounds: ${plan.sizes.rounds}, in which the contenders take turns; given are the median (least to most).`,
    ...servers.map((line) => `- ${line}`),
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
      const peers = [best(medians, column, isOnDisk), best(medians, column, isPeer)];
      const medianOf = (peer: ContenderName | null): number | undefined =>
        peer === null ? undefined : medians.get(peer);
      const cells = [
        cell(lapse, column),
        ...peers.map((peer) => (peer === null ? "–" : `${contenders[peer].label}: ${cell(medians.get(peer), column)}`)),
        ...[...peers, "limit" as const].map((other) => ratioCell(lapse, medianOf(other), column)),
      ];
      return `| ${figures[name].title}${value === "perSecond" ? "" : `, ${value}`} | ${cells.join(" | ")} |`;
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
  const bySubject = samples[name];
  const rows = plan.contenders.flatMap((contender) => {
    const taken = bySubject[contender];
    if (taken === undefined) return [];
    const cells = columns.flatMap(([value, column]) => {
      const lapse = mediansOf(bySubject, value).get("lapse");
      const summary = summarize(taken.map((sample) => sample.values[value] ?? Number.NaN));
      return [spread(summary, column), contender === "lapse" ? "" : ratioCell(lapse, summary.median, column)];
    });
    const counted = taken.reduce((sum, sample) => sum + sample.counted, 0);
    return [`| ${contenders[contender].label} | ${cells.join(" | ")} | ${number(counted)} |`];
  });
  const heads = columns.flatMap(([value, { unit }]) => [
    value === "perSecond" ? unit : `${value}, ${unit}`,
    "Lapse is",
  ]);
  return [
    `**${figure.title}** (${figure.rule})`,
    "",
    `| | ${heads.join(" | ")} | counted |`,
    `| --- |${" --: |".repeat(heads.length + 1)}`,
    ...rows,
    ...notesOf(bySubject),
  ];
}

function notesOf(bySubject: Samples[FigureName]): readonly string[] {
  const notes = (Object.entries(bySubject) as [ContenderName, readonly Sample[]][]).flatMap(([contender, taken]) =>
    taken.flatMap((sample, round) =>
      sample.notes.map((note) => `- ${contenders[contender].label}, round ${round + 1}: ${note}`),
    ),
  );
  return notes.length === 0 ? [] : ["", ...notes];
}

function mediansOf(bySubject: Samples[FigureName], value: string): ReadonlyMap<ContenderName, number> {
  return new Map(
    (Object.entries(bySubject) as [ContenderName, readonly Sample[]][]).map(([contender, taken]) => [
      contender,
      summarize(taken.map((sample) => sample.values[value] ?? Number.NaN)).median,
    ]),
  );
}

function isOnDisk(name: ContenderName): boolean {
  return isPeer(name) && contenders[name].keeps === "PostgreSQL";
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

function ratioCell(lapse: number | undefined, other: number | undefined, { better }: Column): string {
  if (lapse === undefined || other === undefined || other === 0) return "–";
  const ratio = lapse / other;
  const isBetter = better === "more" ? ratio >= 1 : ratio <= 1;
  return `${ratio.toFixed(2)} ×${isBetter ? "" : " (worse)"}`;
}

function spread({ min, median, max }: Summary, column: Column): string {
  return min === max ? cell(median, column) : `${cell(median, column)} (${cell(min, column)} to ${cell(max, column)})`;
}

function cell(value: number | undefined, { unit }: Column): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  return unit === "ms" ? value.toFixed(1) : number(value);
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}

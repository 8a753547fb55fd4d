// Goal: no order of steps, crashes and losses breaks a promise of the protocol; and each guard is there for a reason.
// Method: spin walks every run of the model (fences.pml, progress.pml, strays.pml), then again with one guard taken out at a time.

import { describe, expect, it } from "vitest";
import { sized } from "../support/size.ts";
import { check, type ModelRun, type Mutation } from "./spin.ts";

/** Some 20 times what it takes here, built by a compiler that does not optimise, beside other tests. */
const searchMsMax = 10 * 60_000;

interface Search {
  readonly run: ModelRun;
  /** Far below what it has, far above what a model has whose first step is stuck. */
  readonly statesMin: number;
}

const longRuns: readonly Search[] = [
  { run: { model: "fences", attemptsMax: 3 }, statesMin: 4_000_000 },
  { run: { model: "progress", attemptsMax: 3 }, statesMin: 8_000_000 },
];

describe("the protocol", () => {
  const searches: readonly Search[] = [
    { run: { model: "fences" }, statesMin: 200_000 },
    { run: { model: "progress" }, statesMin: 800_000 },
    { run: { model: "strays" }, statesMin: 3_000 },
    ...sized({ usual: [], long: longRuns }),
  ];

  it.each(searches)("keeps its promises in every run of $run", { timeout: searchMsMax }, async ({ run, statesMin }) => {
    const { violation, ...search } = await check(run);
    if (violation !== null) expect.fail(`${violation.what}\n${violation.story}`);
    expect(search).toMatchObject({ isComplete: true, unreached: [] });
    expect(search.states).toBeGreaterThan(statesMin);
  });
});

describe("a guard that is taken out is missed", () => {
  const mutations: readonly (Mutation & { guard: string; model: ModelRun["model"]; breaks: RegExp })[] = [
    {
      guard: "an attempt settles only itself",
      model: "fences",
      file: "store.pml",
      takeOut: "#define isCurrent(t, n) (task[t].state == running && task[t].attempts == n",
      putIn: "#define isCurrent(t, n) (task[t].state == running",
      breaks: /P5/,
    },
    {
      guard: "a claim takes only what is scheduled",
      model: "fences",
      file: "store.pml",
      takeOut: "#define mayClaim(t) (task[t].state == scheduled",
      putIn: "#define mayClaim(t) (task[t].state != absent",
      breaks: /P5|P8/,
    },
    {
      guard: "a claim takes nothing that was cancelled",
      model: "fences",
      file: "store.pml",
      takeOut: "#define mayClaim(t) (task[t].state == scheduled",
      putIn: "#define mayClaim(t) ((task[t].state == scheduled || task[t].state == cancelled)",
      breaks: /P4/,
    },
    {
      guard: "healing hands over what the index lost",
      model: "progress",
      file: "progress.pml",
      takeOut: " || isHealed(t)",
      breaks: /p3_p10/,
    },
    {
      guard: "a claim takes only what is due",
      model: "fences",
      file: "store.pml",
      takeOut: "(task[t].state == scheduled && task[t].isDue)",
      putIn: "(task[t].state == scheduled)",
      breaks: /P2/,
    },
    {
      guard: "a cancel changes nothing that has ended",
      model: "fences",
      file: "store.pml",
      takeOut: "(isLive(t) && mayHit(t))",
      putIn: "(task[t].state != absent && mayHit(t))",
      breaks: /P8/,
    },
    {
      guard: "a confirm that stands refuses a cancel",
      model: "fences",
      file: "store.pml",
      takeOut: "task[t].confirmedAttempt == 0 && !(task[t].state",
      putIn: "!(task[t].state",
      breaks: /P4/,
    },
    {
      guard: "a cancel that came first refuses a confirm",
      model: "fences",
      file: "store.pml",
      takeOut: "task[t].attempts == n && !task[t].cancelRequested)",
      putIn: "task[t].attempts == n)",
      breaks: /P4/,
    },
    {
      guard: "a failed attempt is not followed by another once a cancel came",
      model: "fences",
      file: "store.pml",
      takeOut: " || (task[t].cancelRequested && of(t, n).result != delivered)",
      breaks: /P4/,
    },
    {
      guard: "a refused confirm has the last word",
      model: "fences",
      file: "store.pml",
      takeOut: "task[t].confirmRefused || (",
      putIn: "(",
      breaks: /P4/,
    },
    {
      guard: "the lease is looked at before the bytes leave",
      model: "fences",
      file: "calls.pml",
      takeOut: "connecting && maySend(of(t, n).owner)",
      putIn: "connecting",
      breaks: /P5/,
    },
    {
      guard: "one that was declared dead does not renew",
      model: "fences",
      file: "calls.pml",
      takeOut: "isDead[self(d)] -> life[d] = life[d] + 1",
      putIn: "isDead[self(d)] -> isDead[self(d)] = false",
      breaks: /P5/,
    },
    {
      guard: "nothing is taken over from the living",
      model: "fences",
      file: "store.pml",
      takeOut: "isDead[task[t].owner] && ",
      breaks: /P5/,
    },
    {
      guard: "a takeover records what was lost",
      model: "fences",
      file: "store.pml",
      takeOut: "hasSlot) {\n  recordAttempt(t);",
      putIn: "hasSlot) {",
      breaks: /P7/,
    },
    {
      guard: "attempts are counted",
      model: "fences",
      file: "store.pml",
      takeOut: "task[t].attempts < ATTEMPTS && ",
      breaks: /P6/,
    },
    {
      guard: "what was sent at most once is not sent again",
      model: "fences",
      file: "store.pml",
      takeOut: " && !(task[t].isAtMostOnce && outcome != neverLeft)",
      breaks: /P6/,
    },
    {
      guard: "a key has one place among the live",
      model: "progress",
      file: "store.pml",
      takeOut: "task[t].state == absent && isKeyFree(t)",
      putIn: "task[t].state == absent",
      breaks: /P9/,
    },
    {
      guard: "what the dead had in flight is taken over",
      model: "progress",
      file: "dispatch.pml",
      takeOut: "atomic { mayTakeOver(t, self(d))",
      putIn: "atomic { false",
      breaks: /p3_p10/,
    },
    {
      guard: "a claim whose answer was lost is found",
      model: "progress",
      file: "dispatch.pml",
      takeOut: "!isDead[self(d)] && of(t, task[t].attempts).call == idle",
      putIn: "false",
      breaks: /p3_p10/,
    },
    {
      guard: "a stray is one that two looks in a row found",
      model: "strays",
      file: "strays.pml",
      takeOut: "!isInFlight(d) && mind[d].stray == mind[d].looked ->",
      putIn: "!isInFlight(d) ->",
      breaks: /P5/,
    },
    {
      guard: "a look comes after the takeovers of its round",
      model: "strays",
      file: "strays.pml",
      takeOut: "(mind[d].taken == 0)\n",
      putIn: "true\n",
      breaks: /P5/,
    },
    {
      guard: "what is being claimed is in flight",
      model: "strays",
      file: "strays.pml",
      takeOut: "mind[d].claimed > 0 || ",
      breaks: /P5/,
    },
  ];

  it.each(mutations)("$guard", { timeout: searchMsMax }, async ({ model, breaks, ...mutation }) => {
    const { violation } = await check({ model, mutation });
    expect(violation?.what).toMatch(breaks);
  });
});

// Owns which part of src may import which (scripts/check-layers.ts runs it). Imports point downwards only, types included;
// parts on one line do not import each other. A new part is added here, or the check fails on its files.

/** From the top to the bottom. */
const lines = [
  { main: "^src/(main\\.ts$|cli\\.ts$|cli/)" },
  { service: "^src/(service|servers|open-index|maintenance)\\.ts$" },
  { config: "^src/config(\\.ts$|/)" },
  { http: "^src/http/" },
  { intake: "^src/intake/", dispatch: "^src/dispatch/", schedule: "^src/schedule/", events: "^src/events/" },
  {
    store: "^src/store/",
    "due-index": "^src/due-index/",
    "rate-limit": "^src/rate-limit/",
    webhook: "^src/webhook/",
    embedded: "^src/embedded/",
  },
  { trigger: "^src/trigger/" },
  { task: "^src/task/" },
];
/** Beside the lines: usable by every part but task and trigger, which are pure, and importing no other than task. */
const runtime = "^src/runtime/";

const parts = lines.flatMap((line) => Object.values(line));

const downwards = lines.flatMap((line, index) =>
  Object.entries(line).map(([name, path]) => ({
    name: `${name}-imports-downwards`,
    severity: "error",
    from: { path },
    to: { path: "^src/", pathNot: [path, runtime, ...lines.slice(index + 1).flatMap((lower) => Object.values(lower))] },
  })),
);

export default {
  forbidden: [
    ...downwards,
    {
      name: "runtime-imports-task-alone",
      severity: "error",
      from: { path: runtime },
      to: { path: "^src/", pathNot: [runtime, "^src/task/"] },
    },
    {
      name: "task-is-pure",
      severity: "error",
      from: { path: "^src/task/" },
      to: { pathNot: ["^src/task/", "node_modules/luxon/"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "trigger-is-pure",
      severity: "error",
      from: { path: "^src/trigger/" },
      to: { pathNot: ["^src/trigger/", "^src/task/", "node_modules/luxon/"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "config-is-for-the-top",
      severity: "error",
      from: { path: parts.slice(3) },
      to: { path: "^src/config(\\.ts$|/)" },
    },
    {
      name: "every-file-is-in-a-part",
      severity: "error",
      from: {},
      to: { path: "^src/", pathNot: [...parts, runtime] },
    },
    { name: "src-stands-alone", severity: "error", from: { path: "^src/" }, to: { path: "^(test|scripts)/" } },
    { name: "no-cycle", severity: "error", from: {}, to: { circular: true } },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    // TypeScript 7 has no compiler API; without a parser for TypeScript every file would be skipped without a word.
    parser: "swc",
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { conditionNames: ["node", "import", "default"], exportsFields: ["exports"] },
  },
};

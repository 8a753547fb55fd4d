// Owns how `npm test` runs: real servers, one database a file. `npm run test:long` (mode `long`) runs the full sizes.

import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const minuteMs = 60_000;

/** In a fresh checkout nothing is known of how long files take: begun last, the longest would be waited for alone. */
const longestFiles = [
  "fault/plans.test.ts",
  "fault/failpoints.test.ts",
  "fault/schedules-killed.test.ts",
  "fault/import.test.ts",
  "fault/engines.test.ts",
  "http/flow-origins.test.ts",
  "main.test.ts",
  "model/model.test.ts",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification): number => {
      const place = longestFiles.findIndex((name) => moduleId.endsWith(`/test/${name}`));
      return place < 0 ? longestFiles.length : place;
    };
    const groupOf = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    const inUsualOrder = await super.sort(files); // oxlint-disable-line unicorn/no-array-sort -- vitest's own.
    return inUsualOrder.toSorted((a, b) => groupOf(a) - groupOf(b) || placeOf(a) - placeOf(b));
  }
}

export default defineConfig(({ mode }) => ({
  test: {
    env: { TEST_SIZE: mode === "long" ? "long" : "usual" }, // Read by test/support/size.ts.
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    testTimeout: mode === "long" ? 10 * minuteMs : minuteMs / 2,
    hookTimeout: mode === "long" ? 10 * minuteMs : minuteMs,
    teardownTimeout: 30_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: "parts",
          // They wait for sockets and timers more than they compute.
          maxWorkers: 3,
          include: ["test/**/*.test.ts"],
          exclude: ["test/fault/**"],
          sequence: { groupOrder: 0 },
        },
      },
      {
        // After the others: these tests hold the service to its times, and two cores are soon busy. Most of their time is waited.
        extends: true,
        test: { name: "fault", include: ["test/fault/**/*.test.ts"], maxWorkers: 3, sequence: { groupOrder: 1 } },
      },
    ],
  },
}));

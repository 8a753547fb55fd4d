// Owns how `npm test` runs: real servers, one database a file. `npm run test:long` (mode `long`) runs the full sizes.

import { defineConfig } from "vitest/config";

const minuteMs = 60_000;

export default defineConfig(({ mode }) => ({
  test: {
    env: { TEST_SIZE: mode === "long" ? "long" : "usual" }, // Read by test/support/size.ts.
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    testTimeout: mode === "long" ? 10 * minuteMs : minuteMs / 2,
    hookTimeout: mode === "long" ? 10 * minuteMs : minuteMs,
    teardownTimeout: 30_000,
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

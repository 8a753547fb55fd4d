// Owns how `npm test` runs: real servers, one database a file. `npm run test:long` runs the full sizes by vitest.long.config.ts.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: "parts",
          include: ["test/**/*.test.ts"],
          exclude: ["test/fault/**"],
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Alone, one file after the other: these tests hold the service to its times, and two cores are soon busy.
        extends: true,
        test: { name: "fault", include: ["test/fault/**/*.test.ts"], maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

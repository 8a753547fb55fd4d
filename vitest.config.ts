// Owns how `npm test` runs: real servers, one database a file. `npm run test:long` runs the full sizes by vitest.long.config.ts.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    // A promise that nobody waits for is a bug, also in a test.
    dangerouslyIgnoreUnhandledErrors: false,
  },
});

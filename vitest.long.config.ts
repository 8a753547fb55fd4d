// Owns how `npm run test:long` runs: the same tests in their full sizes (test/support/size.ts), with the time that takes.

import { defineConfig, mergeConfig } from "vitest/config";
import usual from "./vitest.config.ts";

export default mergeConfig(
  usual,
  defineConfig({ test: { env: { TEST_SIZE: "long" }, testTimeout: 600_000, hookTimeout: 600_000 } }),
);

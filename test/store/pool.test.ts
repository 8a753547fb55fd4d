// Owns the facts about how connections to Postgres are opened.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { serverOf } from "../../src/store/pool.ts";

beforeEach(() => {
  for (const name of ["PGHOST", "PGPORT"]) vi.stubEnv(name, "");
});

afterEach(() => {
  vi.unstubAllEnvs();
});

test.each([
  ["postgres://u:p@db.internal/lapse", { host: "db.internal", port: 5432 }],
  ["postgresql://u:p@10.0.0.5:6000/lapse?sslmode=disable", { host: "10.0.0.5", port: 6000 }],
  ["postgres://u@[fd00::5]:6000/lapse", { host: "fd00::5", port: 6000 }],
  ["postgres://u@db.internal/lapse?host=10.0.0.5&port=6000", { host: "10.0.0.5", port: 6000 }],
  ["postgres:///lapse", { host: "localhost", port: 5432 }],
  ["postgres:///lapse?host=/var/run/postgresql", null],
])("%s leads where pg connects to", (url, server) => expect(serverOf(url)).toEqual(server));

test("a URL that names no host leads where the environment says", () => {
  vi.stubEnv("PGHOST", "10.0.0.7");
  vi.stubEnv("PGPORT", "6001");
  expect(serverOf("postgres:///lapse")).toEqual({ host: "10.0.0.7", port: 6001 });
});

// Owns the facts about what a driver's error means.

import { describe, expect, test } from "vitest";
import { StoreUnavailableError, storeError } from "../../src/store/errors.ts";

describe("an error of the driver", () => {
  test.each(["ECONNREFUSED", "EPIPE", "ENOTFOUND", "EAI_AGAIN"])(
    "with the code %s means that Postgres is away",
    (code) => {
      const error = storeError(Object.assign(new Error(`getaddrinfo ${code} db`), { code }));
      expect(error).toBeInstanceOf(StoreUnavailableError);
    },
  );

  test.each([new TypeError("x is not a function"), Object.assign(new Error("syntax error"), { code: "42601" })])(
    "that is a fault of ours stays what it is: %s",
    (error) => {
      expect(storeError(error)).toBe(error);
    },
  );
});

import { expect, test } from "vitest";
import { isLong } from "./support/size.ts";
test("x", () => { console.log("LONG", isLong); expect(1).toBe(1); });

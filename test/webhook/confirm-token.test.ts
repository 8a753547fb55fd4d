// What a confirm token is good for, and what it is not.

import fc from "fast-check";
import { expect, test } from "vitest";
import { createConfirmTokens } from "../../src/webhook/confirm-token.ts";

const tokens = createConfirmTokens(Buffer.alloc(32, 1));
const id = "0193a1b2-0000-7000-8000-000000000001";
const token = tokens.create(id, 3);

test("a token confirms the attempt it was sent with, on whichever process", () => {
  expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(createConfirmTokens(Buffer.alloc(32, 1)).verify(token, id, 3)).toBe(true);
});

test("a token is good for that attempt of that task alone, under that key alone", () => {
  expect(tokens.verify(token, id, 2)).toBe(false);
  expect(tokens.verify(token, id, 33)).toBe(false);
  expect(tokens.verify(token, "0193a1b2-0000-7000-8000-000000000002", 3)).toBe(false);
  expect(createConfirmTokens(Buffer.alloc(32, 2)).verify(token, id, 3)).toBe(false);
});

test("anything else is refused, never a throw", () => {
  fc.assert(fc.property(fc.string(), (given) => !tokens.verify(given, id, 3)));
  for (const near of [token.slice(1), `${token}=`, token.toUpperCase(), "é".repeat(43)]) {
    expect(tokens.verify(near, id, 3)).toBe(false);
  }
});

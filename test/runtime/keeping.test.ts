// Owns the facts about what is kept of texts that were read.

import { expect, test } from "vitest";
import { keeping } from "../../src/runtime/keeping.ts";

test("a text is read once while it is among the last so many, and anew after", () => {
  const texts: string[] = [];
  const read = keeping(2, (text) => {
    texts.push(text);
    return { text };
  });
  const first = read("a");
  expect([read("b").text, read("a"), read("b").text]).toEqual(["b", first, "b"]);
  expect(texts).toEqual(["a", "b"]);
  read("c");
  expect([read("b").text, read("c").text, read("a").text]).toEqual(["b", "c", "a"]);
  expect(texts).toEqual(["a", "b", "c", "a"]);
});

// Owns the checks of cutting bytes into lines: however they come in chunks, and at the limit of a line.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Line, LineSplitter } from "../../src/http/line-splitter.ts";

const bytesMax = 8;

function split(chunks: readonly Buffer[], max = bytesMax): Line[] {
  const splitter = new LineSplitter(max);
  return [...chunks.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.finish()];
}

const one = (text: string): Line[] => split([Buffer.from(text)]);
const line = (number: number, text: string): Line => ({ number, text, fault: null });
const tooLong = (number: number): Line => ({ number, fault: "too-long" });

test("the last line needs no end, and an end makes no other line", () => {
  expect(one("a\nb")).toEqual([line(1, "a"), line(2, "b")]);
  expect(one("a\nb\n")).toEqual([line(1, "a"), line(2, "b")]);
  expect(one("")).toEqual([]);
});

test("blank lines are passed over, and counted", () => {
  expect(one("\n\r\n \t\na\n\n")).toEqual([line(4, "a")]);
});

test("a byte order mark is dropped at the beginning alone", () => {
  expect(one("\ufeffa\n\ufeffb")).toEqual([line(1, "a"), line(2, "\ufeffb")]);
  expect(one("\ufeff\na")).toEqual([line(2, "a")]);
});

test("what is not UTF-8 is a fault of its line alone, also where a character is cut by the end of a chunk", () => {
  const bytes = Buffer.from([0x61, 0x0a, 0xff, 0x0a, 0xc3]);
  expect(split([bytes, Buffer.from([0xa9, 0x0a])])).toEqual([
    line(1, "a"),
    { number: 2, fault: "not-utf8" },
    line(3, "é"),
  ]);
});

describe("a line", () => {
  test.each(["\n", "\r\n", ""])("ended by %j may be as long as the limit, and not one byte more", (end) => {
    for (const chunkBytes of [1, 3, 100]) {
      const cut = (text: string) =>
        split(text.match(new RegExp(`[^]{1,${chunkBytes}}`, "g"))?.map((t) => Buffer.from(t)) ?? []);
      expect(cut(`${"a".repeat(bytesMax)}${end}`)[0]).toMatchObject({ number: 1, fault: null });
      expect(cut(`${"a".repeat(bytesMax + 1)}${end}`)).toEqual([tooLong(1)]);
    }
  });

  test("that is too long by far hides none after it", () => {
    const chunks = [Buffer.alloc(100, "a"), Buffer.alloc(100, "a"), Buffer.from("aa\nb\n"), Buffer.alloc(9, "c")];
    expect(split(chunks)).toEqual([tooLong(1), line(2, "b"), tooLong(3)]);
  });
});

test("chunks may begin and end anywhere", () => {
  const pieces = fc.array(fc.constantFrom("a", "é", "\n", "\r", " ", "\ufeff", "0123456789", "𝄞"), { maxLength: 30 });
  fc.assert(
    fc.property(pieces, fc.array(fc.integer({ min: 0, max: 60 })), (texts, cuts) => {
      const bytes = Buffer.from(texts.join(""));
      const at = [0, ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      expect(split(chunks)).toEqual(split([bytes]));
    }),
  );
});

test("a line that never ends is not held", () => {
  const max = 64 * 1024;
  const splitter = new LineSplitter(max);
  const chunk = Buffer.alloc(1024 * 1024, "a");
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 200; i += 1) expect([...splitter.push(chunk)]).toEqual([]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * 1024 * 1024);
});

// How durations are read and written, against the contract's section 1.

import fc from "fast-check";
import { Duration } from "luxon";
import { describe, expect, test } from "vitest";
import { formatDuration, parseDuration } from "../../src/task/duration.ts";

const read: [text: string, ms: number][] = [
  ["PT30M", 1_800_000],
  ["PT1H30M", 5_400_000],
  ["PT0.25S", 250],
  ["PT0,25S", 250],
  ["P2D", 172_800_000],
  ["P1W", 604_800_000],
  ["P1W1DT1H1M1.001S", 694_861_001],
  ["PT0S", 0],
  ["P0D", 0],
  ["PT1.5H", 5_400_000],
  ["PT36H", 129_600_000],
  ["PT90M", 5_400_000],
  ["P3653D", 315_619_200_000],
  ["250ms", 250],
  ["45s", 45_000],
  ["30m", 1_800_000],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
  ["1w2d3h4m5s6ms", 788_645_006],
  ["1m1ms", 60_001],
  ["0s", 0],
  ["0030s", 30_000],
];

const roundedUp: [text: string, ms: number][] = [
  ["PT0.0001S", 1],
  ["PT0.2501S", 251],
  ["PT0.2500S", 250],
  ["PT0.00000000000000000000001S", 1],
  ["PT0.069S", 69],
  ["PT8.295S", 8_295],
  ["PT0.0005M", 30],
  ["PT0.00001M", 1],
  ["P0.00000001D", 1],
];

const refused: [text: string, because: RegExp][] = [
  ["30", /seconds or milliseconds.*30s or 30ms/],
  ["1800.5", /seconds or milliseconds/],
  ["-30", /seconds or milliseconds/],
  ["", /empty/],
  ["   ", /empty/],
  ["-PT30M", /signed/],
  ["+PT30M", /signed/],
  ["PT-30M", /signed/],
  ["-5s", /signed/],
  ["P1Y", /years or months/],
  ["P1M", /years or months/],
  ["P1Y2M3DT4H", /years or months/],
  ["P1W1M", /years or months/],
  ["P", /must be a duration/],
  ["PT", /must be a duration/],
  ["P1DT", /must be a duration/],
  ["P1H", /must be a duration/],
  ["PT1D", /must be a duration/],
  ["PT1..5S", /must be a duration/],
  ["PT.5S", /must be a duration/],
  ["PT1M1H", /must be a duration/],
  ["pt30m", /must be a duration/],
  ["P2001-01-01", /must not be signed|must be a duration/],
  ["30 m", /must be a duration/],
  [" 30m", /must be a duration/],
  ["30m\n", /must be a duration/],
  ["30M", /must be a duration/],
  ["1.5h", /must be a duration/],
  ["30m1h", /must be a duration/],
  ["1h1h", /must be a duration/],
  ["1e3s", /must be a duration/],
  ["٣s", /must be a duration/],
  ["soon", /must be a duration/],
  [`${"0".repeat(64)}s`, /at most 64 characters/],
];

describe("a duration is read", () => {
  test.each(read)("%s is %i ms", (text, ms) => expect(parseDuration(text)).toEqual({ ms }));

  test.each(roundedUp)("%s is rounded up to %i ms", (text, ms) => expect(parseDuration(text)).toEqual({ ms }));

  test.each(refused)("%j is refused, and told why", (text, because) => {
    expect(parseDuration(text)).toEqual({
      error: expect.stringMatching(because),
    });
  });

  test("limits hold at both ends, inclusive", () => {
    const limits = { minMs: 100, maxMs: 900_000 };
    expect(parseDuration("100ms", limits)).toEqual({ ms: 100 });
    expect(parseDuration("15m", limits)).toEqual({ ms: 900_000 });
    expect(parseDuration("99ms", limits)).toEqual({
      error: "must be at least PT0.1S",
    });
    expect(parseDuration("PT15M0.0001S", limits)).toEqual({
      error: "must be at most PT15M",
    });
  });

  test("one that no number can hold is too long, not wrong", () => {
    expect(parseDuration(`P${"9".repeat(60)}D`)).toEqual({
      error: expect.stringMatching(/^must be at most P/),
    });
  });

  test("any text gets an answer, never a throw", () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[PT0-9.,YMWDHSmswhd -]{0,20}$/));
    fc.assert(
      fc.property(text, (given) => {
        const answer = parseDuration(given);
        expect("error" in answer ? answer.error.length > 0 : Number.isSafeInteger(answer.ms) && answer.ms >= 0).toBe(
          true,
        );
      }),
    );
  });
});

describe("a duration is written", () => {
  test.each([
    [5_400_000, "PT1H30M"],
    [250, "PT0.25S"],
    [172_800_000, "P2D"],
    [0, "PT0S"],
    [1, "PT0.001S"],
    [604_800_000, "P7D"],
    [90_061_001, "P1DT1H1M1.001S"],
    [86_400_001, "P1DT0.001S"],
    [1_000, "PT1S"],
  ])("%i ms as %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])("%d is no duration: a bug of ours", (ms) => {
    expect(() => formatDuration(ms)).toThrow(RangeError);
  });

  test("what is written is read again, by us and by luxon, as the same", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400_000_000_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toEqual({ ms });
        expect(Duration.fromISO(formatDuration(ms)).toMillis()).toBe(ms);
      }),
    );
  });
});

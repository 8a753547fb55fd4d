// How often names are looked up, and for how long an answer serves.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { keepingLookup, keptMs, systemLookup } from "../../src/webhook/host-lookup.ts";

const asked: string[] = [];
let pending: PromiseWithResolvers<readonly string[]>[] = [];
let lookup = keepingLookup(never);

function never(host: string): Promise<readonly string[]> {
  asked.push(host);
  const answer = Promise.withResolvers<readonly string[]>();
  pending.push(answer);
  return answer.promise;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["hrtime"] });
  asked.length = 0;
  pending = [];
  lookup = keepingLookup(never);
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a name", () => {
  test("is looked up once for all who ask while its answer is awaited, however long", async () => {
    const first = lookup("a.test");
    vi.advanceTimersByTime(10 * keptMs);
    const all = [first, lookup("a.test"), lookup("a.test")];
    void lookup("b.test");
    pending[0]?.resolve(["10.0.0.1"]);
    expect(await Promise.all(all)).toEqual([["10.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]);
    expect(asked).toEqual(["a.test", "b.test"]);
  });

  test("is looked up anew once its answer is 10 s old, and not before", async () => {
    pending = [];
    const first = lookup("a.test");
    pending[0]?.resolve(["10.0.0.1"]);
    await first;
    vi.advanceTimersByTime(keptMs - 1);
    expect(await lookup("a.test")).toEqual(["10.0.0.1"]);
    expect(asked).toHaveLength(1);
    vi.advanceTimersByTime(1);
    const second = lookup("a.test");
    pending[1]?.resolve(["10.0.0.2"]);
    expect(await second).toEqual(["10.0.0.2"]);
  });

  test("that could not be looked up is looked up at once by the next who asks", async () => {
    const first = lookup("a.test");
    pending[0]?.reject(new Error("EAI_AGAIN"));
    await expect(first).rejects.toThrow("EAI_AGAIN");
    void lookup("a.test");
    expect(asked).toEqual(["a.test", "a.test"]);
  });
});

test("a thousand answers are kept, and the oldest goes first", async () => {
  const kept = keepingLookup(async (host) => {
    asked.push(host);
    return [host];
  });
  for (let name = 0; name <= 1_000; name++) await kept(`${name}.test`);
  await kept("1.test");
  await kept("1000.test");
  expect(asked).toHaveLength(1_001);
  await kept("0.test");
  expect(asked).toHaveLength(1_002);
});

test("the system's resolver answers all addresses of a name, and Node's error where it has none", async () => {
  expect(await systemLookup("localhost")).toEqual(
    expect.arrayContaining([expect.stringMatching(/^(127\.0\.0\.1|::1)$/)]),
  );
  await expect(systemLookup("name.invalid")).rejects.toMatchObject({ syscall: "getaddrinfo" });
});

// Owns the facts about the listing of queues over HTTP.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Flow, startFlow, unique } from "../support/flow.ts";

let flow: Flow;
beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

test("queues are listed by page, in the order of their names", async () => {
  const prefix = unique("page");
  const names = Array.from({ length: 5 }, (_, i) => `${prefix}-${i}`);
  for (const name of names.toReversed()) await flow.api.put(`/v1/queues/${name}`, {});
  type Page = { readonly items: readonly { readonly name: string }[]; readonly nextCursor: string | null };
  const all = (await flow.api.get("/v1/queues")).as<Page>();
  expect(all.nextCursor).toBeNull();
  const listed: string[] = [];
  let next = "/v1/queues?limit=2";
  for (let pages = 0; next !== ""; pages += 1) {
    const answer = await flow.api.get(next);
    const { items, nextCursor } = answer.as<Page>();
    expect(items.length).toBe(nextCursor === null ? items.length : 2);
    listed.push(...items.map(({ name }) => name));
    const link = nextCursor === null ? "" : `</v1/queues?limit=2&cursor=${nextCursor}>; rel="next"`;
    expect(answer.headers["link"] ?? "").toBe(link);
    next = nextCursor === null ? "" : `/v1/queues?limit=2&cursor=${nextCursor}`;
    expect(pages).toBeLessThan(all.items.length);
  }
  expect(listed).toEqual(all.items.map(({ name }) => name));
  expect(listed).toEqual(listed.toSorted());
  expect(listed.filter((name) => name.startsWith(prefix))).toEqual(names);
});

test.each(["limit=0", "limit=501", "cursor=x", "page=2"])("no queues are listed by %s", async (query) => {
  expect((await flow.api.get(`/v1/queues?${query}`)).problem.status).toBe(422);
});

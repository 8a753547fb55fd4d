// Owns the facts about maxInstances on a real database: who passes, whoever claims.

import { afterAll, expect, test } from "vitest";
import { claim } from "../../src/store/claims.ts";
import { claimOccurrences } from "../../src/store/occurrence-claims.ts";
import { openStore } from "../store/store.ts";
import { scheduleRows, secondMs } from "./schedule-rows.ts";

const store = await openStore();
const { database } = store;
const { schedule, tasksOf } = scheduleRows(store);

afterAll(() => store.close());

test("of two dispatchers that claim occurrences at once, only maxInstances pass, whatever they claim", async () => {
  const [one, two] = [await store.dispatcher(), await store.dispatcher()];
  for (let round = 0; round < 10; round += 1) {
    const id = await schedule({ max_instances: 2, state: "paused", look_at: null, next_occurrence_at: null });
    const made = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((i) =>
        store.insert({ schedule_id: id, occurrence_at: new Date(i * secondMs).toISOString() }),
      ),
    );
    expect((await claim(database, one, made)).claimed).toEqual([]);
    const request = { queue: "default", isRated: false };
    const claims = await Promise.all([
      claimOccurrences(database, { ...request, owner: one, ids: made.slice(0, 3) }),
      claimOccurrences(database, { ...request, owner: two, ids: made.slice(3) }),
    ]);
    // One of them may have found the schedule locked, and looks again.
    const again = await claimOccurrences(database, { ...request, owner: two, ids: made });
    const claimed = [...claims, again].flatMap((each) => each.claimed.map((task) => task.id));
    expect(claimed).toHaveLength(2);
    const states = (await tasksOf(id)).map(({ state }) => state).toSorted();
    expect(states).toEqual(["missed", "missed", "missed", "missed", "running", "running"]);
  }
});

test("an instance that counts already is not held back from its own retry", async () => {
  const owner = await store.dispatcher();
  const id = await schedule({ state: "paused", look_at: null, next_occurrence_at: null });
  await store.query("update lapse.schedules set max_instances = 1 where id = $1", [id]);
  const begun = await store.insert({ schedule_id: id, occurrence_at: new Date(0).toISOString(), attempts: 1 });
  const next = await store.insert({ schedule_id: id, occurrence_at: new Date(1_000).toISOString() });
  expect((await claim(database, owner, [begun, next])).claimed.map((task) => task.id)).toEqual([begun]);
  const judged = await claimOccurrences(database, { queue: "default", owner, ids: [next], isRated: false });
  expect(judged).toMatchObject({ claimed: [], ended: [next], crowdedOutCount: 1 });
});

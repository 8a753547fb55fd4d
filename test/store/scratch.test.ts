import { afterAll, expect, test } from "vitest";
import { claim } from "../../src/store/claims.ts";
import { readAudit } from "../../src/store/audit.ts";
import { makeTombstones } from "../../src/store/tombstones.ts";
import { takeOver } from "../../src/store/owners.ts";
import { acquireSlots } from "../../src/store/shares.ts";
import { Acceptor } from "../../src/intake/acceptor.ts";
import { KnownQueues } from "../../src/store/queues.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { v7 } from "uuid";
import { openStore, newTask } from "./store.ts";
const store = await openStore();
afterAll(() => store.close());

test("dead owner claims nothing", async () => {
  const dead = await store.dispatcher("dead");
  const id = await store.insert();
  expect((await claim(store.database, dead, [id])).claimed).toEqual([]);
});
test("buried owner gets no slots", async () => {
  const dead = await store.dispatcher("dead");
  const owner = await store.dispatcher();
  expect((await takeOver(store.database, dead, owner)).isComplete).toBe(true);
  expect(await acquireSlots(store.database, "default", { owner: dead, want: 8 })).toBe(0);
});
test("batch tally", async () => {
  await store.database.query((c) => makeTombstones(c, { ids: [v7()], queue: "default", keys: ["k"], lifetimeMs: 60000 }));
  const acceptor = new Acceptor({ database: store.database, queues: new KnownQueues(store.database), clock: new Clock(), signals: { due() {}, gone() {} } });
  const before = await readAudit(store.database);
  const out = await acceptor.acceptAtomically([newTask({ key: "k" }), newTask({})]);
  expect(out.map((o) => o.kind === "created" && o.task.state)).toEqual(["cancelled", "scheduled"]);
  const after = await readAudit(store.database);
  expect(after.queues[0]!.accepted - before.queues[0]!.accepted).toBe(2);
});

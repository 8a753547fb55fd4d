// scratch
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Flow, startFlow } from "../support/flow.ts";
let flow: Flow;
beforeAll(async () => { const t=performance.now(); flow = await startFlow(); console.log("start", performance.now()-t); });
afterAll(async () => { const t=performance.now(); await flow.stop(); console.log("stop", performance.now()-t);});
test("a", async () => {
  const hook = flow.hook();
  const t=performance.now();
  const task = await flow.create({ url: hook.url, delay: "0s", payload: {a: 1} });
  console.log("created", performance.now()-t);
  await hook.next();
  console.log("arrived", performance.now()-t);
  const done = await flow.reaches(task.id, "succeeded");
  console.log("seen", performance.now()-t, done);
  expect(done.state).toBe("succeeded");
  for (const path of ["/v1/tasks?dueAfter=0000-01-01T00:00:00Z","/v1/tasks?dueBefore=9999-12-31T23:59:59-12:00","/v1/tasks?label.a=%00"]) {
    const a = await flow.api.get(path).catch(e=>e);
    console.log(path, a.status, a.text ?? a.message);
  }
  for (const dueAt of ["0000-01-01T00:00:00Z","0000-01-01T00:00:00+14:00", "2020-01-01T00:00:00Z"]) {
    const a = await flow.api.post("/v1/tasks", {url: hook.url, dueAt}).catch(e=>e);
    console.log(dueAt, a.status, a.text ?? a.message);
  }
});

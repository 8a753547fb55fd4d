// That the bytes which are signed are the bytes on the wire, whatever they are: security requirement A7, through real connections.

import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TaskBody } from "../../src/task/task.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { sized } from "../support/size.ts";
import { secret, startSender } from "./sending.ts";

const runs = sized({ usual: 500, long: 10_000 });
const webhook = new Webhook(secret);
const { sender, send } = startSender();
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
});

afterAll(async () => {
  sender.close();
  await receiver.close();
});

/** JSON as callers write it: with spaces, with digits beyond a double, with escapes. */
const json = fc
  .tuple(fc.json({ stringUnit: "grapheme" }), fc.constantFrom("", " ", "\n\t"), fc.bigInt())
  .map(([value, space, digits]) => `{"value":${space}${value}${space},${space}"id":${digits}.10}`);
const body: fc.Arbitrary<TaskBody> = fc.oneof(
  json.map((text) => ({ kind: "payload", json: text }) as const),
  fc
    .string({ unit: "grapheme", maxLength: 2_000 })
    .map((text) => ({ kind: "raw", text, contentType: "text/plain; charset=utf-8" }) as const),
  fc.constant({ kind: "none" } as const),
);

test("any body arrives as it was given, under a signature that the reference library accepts", async () => {
  const method = fc.constantFrom("POST", "PUT", "PATCH", "DELETE", "GET");
  await fc.assert(
    fc.asyncProperty(fc.uuid(), method, body, async (id, verb, given) => {
      expect(await send({ id, url: receiver.url, method: verb, body: given })).toMatchObject({ kind: "answered" });
      const request = await receiver.next((each) => each.headers["webhook-id"] === id);
      const text = given.kind === "none" ? "" : given.kind === "payload" ? given.json : given.text;
      expect(request.body.equals(Buffer.from(text))).toBe(true);
      webhook.verify(request.body, request.headers as Record<string, string>, { jsonParse: false });
    }),
    { numRuns: runs },
  );
});

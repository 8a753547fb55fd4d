// Signatures against the reference library of Standard Webhooks: what we sign, receivers accept.

import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { createSigningSecret, parseSigningSecrets, type SigningKey, sign } from "../../src/webhook/signing.ts";

const id = "0193a1b2-0000-7000-8000-000000000001";

function keysOf(...secrets: string[]): readonly SigningKey[] {
  const parsed = parseSigningSecrets(secrets.join(","));
  if ("error" in parsed) throw new Error(parsed.error);
  return parsed.keys;
}

function secretOf(byteCount: number): string {
  return `whsec_${Buffer.alloc(byteCount, 7).toString("base64")}`;
}

/** Throws unless a receiver with this secret takes the signature for this body. */
function verify(secret: string, signature: string, message: { body: Buffer; timestampSeconds: number }): void {
  const headers = {
    "webhook-id": id,
    "webhook-timestamp": String(message.timestampSeconds),
    "webhook-signature": signature,
  };
  new Webhook(secret).verify(message.body, headers, { jsonParse: false });
}

const bodies: [name: string, body: string][] = [
  ["JSON", '{"orderId":1042}'],
  ["digits beyond a double", '{"id":12345678901234567890,"price":1.10}'],
  ["non-ASCII", '{"city":"Zürich","名":"注文","emoji":"🛒"}'],
  ["empty", ""],
  ["1 MiB", "é".repeat(512 * 1024)],
];

describe("a signature", () => {
  test.each(bodies)("of a body that is %s is accepted by the reference library", (_name, text) => {
    const secret = createSigningSecret();
    const message = { id, timestampSeconds: Math.floor(Date.now() / 1_000), body: Buffer.from(text) };
    expect(() => verify(secret, sign(keysOf(secret), message), message)).not.toThrow();
  });

  test("is accepted with either secret while one is rotated out, and with no other", () => {
    const [old, fresh, foreign] = [createSigningSecret(), createSigningSecret(), createSigningSecret()];
    const message = { id, timestampSeconds: Math.floor(Date.now() / 1_000), body: Buffer.from("{}") };
    const signature = sign(keysOf(fresh, old), message);
    expect(signature).toMatch(/^v1,[A-Za-z0-9+/]{43}= v1,[A-Za-z0-9+/]{43}=$/);
    expect(() => verify(old, signature, message)).not.toThrow();
    expect(() => verify(fresh, signature, message)).not.toThrow();
    expect(() => verify(foreign, signature, message)).toThrow("No matching signature");
    expect(() => verify(fresh, signature, { ...message, body: Buffer.from("{} ") })).toThrow("No matching signature");
  });

  test("is byte-equal to the reference library's for any id, time, body and secret", () => {
    const secretBytes = fc.uint8Array({ minLength: 24, maxLength: 64 });
    const body = fc.string({ unit: "grapheme", maxLength: 200 });
    fc.assert(
      fc.property(fc.uuid(), fc.nat(4_000_000_000), body, secretBytes, (anyId, timestampSeconds, text, bytes) => {
        const secret = `whsec_${Buffer.from(bytes).toString("base64")}`;
        const ours = sign(keysOf(secret), { id: anyId, timestampSeconds, body: Buffer.from(text) });
        expect(ours).toBe(new Webhook(secret).sign(anyId, new Date(timestampSeconds * 1_000), text));
      }),
      { numRuns: 10_000 },
    );
  }, 60_000);
});

describe("a secret", () => {
  test("is made of 32 random bytes and can be read", () => {
    const [one, two] = [createSigningSecret(), createSigningSecret()];
    expect(one).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(one).not.toBe(two);
    expect(keysOf(one, two)).toHaveLength(2);
  });

  test.each([24, 32, 64])("of %i bytes is taken", (byteCount) => expect(keysOf(secretOf(byteCount))).toHaveLength(1));

  test("may stand beside another with spaces around", () => {
    expect(parseSigningSecrets(` ${secretOf(24)} , ${secretOf(64)} `)).toMatchObject({ keys: [{}, {}] });
  });

  test.each([
    ["too short", secretOf(23)],
    ["too long", secretOf(65)],
    ["without its prefix", secretOf(32).slice(6)],
    ["of another kind", secretOf(32).replace("whsec_", "whsk_")],
    ["not base64", `whsec_${"?".repeat(44)}`],
    ["cut", secretOf(32).slice(0, -1)],
    ["empty", ""],
    ["one of two missing", `${secretOf(32)},`],
    ["one of three", [secretOf(24), secretOf(24), secretOf(24)].join(",")],
  ])("%s is refused without being repeated", (_name, text) => {
    const answer = parseSigningSecrets(text);
    expect(answer).toEqual({ error: expect.stringMatching(/^must /) });
    if ("error" in answer && text.length > 10) expect(answer.error).not.toContain(text.slice(6));
  });

  test("shows nothing of itself where it is logged", () => {
    const secret = secretOf(32);
    expect(JSON.stringify(keysOf(secret))).not.toContain(secret.slice(6, 20));
  });
});

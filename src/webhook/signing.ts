// Owns signatures: Standard Webhooks 1.0.0, symmetric (https://www.standardwebhooks.com), byte-equal to its reference library.

import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";

const secretPrefix = "whsec_";
/** The specification's bounds; what we make ourselves has 32 bytes, the block that HMAC-SHA256 puts out. */
const secretBytesMin = 24;
const secretBytesMax = 64;
const secretBytesMade = 32;
/** Two while one is being rotated out. */
const secretsMax = 2;

/** A secret ready to sign with; unlike its text it shows nothing when it is logged. */
export type SigningKey = KeyObject;

/** What a receiver checks: the same id at every attempt, the Unix seconds of this one, and the very bytes of the body. */
export interface SignedMessage {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
}

/** A new random secret, as receivers are given it. */
export function createSigningSecret(): string {
  return secretPrefix + randomBytes(secretBytesMade).toString("base64");
}

/** Reads one secret, or two separated by a comma. The error never repeats the secret. */
export function parseSigningSecrets(text: string): { keys: readonly SigningKey[] } | { error: string } {
  const secrets = text.split(",").map((secret) => secret.trim());
  if (secrets.length > secretsMax) return { error: `must hold at most ${secretsMax} secrets, separated by a comma` };
  const keys = secrets.map(readSecret);
  if (!keys.every((key) => key !== null)) {
    const bytes = `${secretBytesMin} to ${secretBytesMax} bytes`;
    return { error: `must be ${secretPrefix} and the base64 of ${bytes}, or two of these separated by a comma` };
  }
  return { keys };
}

/** The value of `webhook-signature`: one `v1,<base64>` for each key, separated by a space. */
export function sign(keys: readonly SigningKey[], message: SignedMessage): string {
  const head = `${message.id}.${message.timestampSeconds}.`;
  return keys
    .map((key) => `v1,${createHmac("sha256", key).update(head).update(message.body).digest("base64")}`)
    .join(" ");
}

function readSecret(text: string): SigningKey | null {
  if (!text.startsWith(secretPrefix)) return null;
  const base64 = text.slice(secretPrefix.length);
  const bytes = Buffer.from(base64, "base64");
  // Node skips what is not base64; what does not come out as it went in was mistyped or cut.
  if (bytes.toString("base64") !== base64) return null;
  return bytes.length >= secretBytesMin && bytes.length <= secretBytesMax ? createSecretKey(bytes) : null;
}

// Owns the text of an API key: `lapse_live_<id>_<secret><checksum>`. Its prefix is what secret scanners look for, its checksum tells a
// mistyped or made-up key without a look into the database, and its id says which row to look at.

import { hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const prefix = "lapse_live_";
const idChars = 8;
/** 62^43 is just above 2^256. */
const secretChars = 43;
const secretBytes = 32;
/** 62^6 is above 2^32. */
const checksumChars = 6;
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const idForm = new RegExp(`^[0-9A-Za-z]{${idChars}}$`);
const form = new RegExp(
  `^${prefix}([0-9A-Za-z]{${idChars}})_[0-9A-Za-z]{${secretChars}}([0-9A-Za-z]{${checksumChars}})$`,
);

export interface MadeKey {
  readonly id: string;
  /** Shown once, kept nowhere. */
  readonly text: string;
}

/** A new key: its secret has 256 random bits, its id 47, so that two of a thousand keys never have the same. */
export function makeKey(): MadeKey {
  const id = base62(randomBytes(secretBytes)).slice(-idChars);
  const checked = `${prefix}${id}_${base62(randomBytes(secretBytes))}`;
  return { id, text: checked + checksum(checked) };
}

/** The id in a key's text, or null for a text that is no key. */
export function keyId(text: string): string | null {
  const [, id, sum] = form.exec(text) ?? [];
  return id !== undefined && sum === checksum(text.slice(0, -checksumChars)) ? id : null;
}

export function isKeyId(text: string): boolean {
  return idForm.test(text);
}

/** What is kept of a key. Its secret is random, so one round of SHA-256 is as good as a slow hash, and cheap at each call. */
export function keyDigest(text: string): Buffer {
  return hash("sha256", text, "buffer");
}

function checksum(text: string): string {
  return toBase62(BigInt(crc32(text)), checksumChars);
}

function base62(bytes: Buffer): string {
  return toBase62(BigInt(`0x${bytes.toString("hex")}`), secretChars);
}

function toBase62(value: bigint, chars: number): string {
  const base = BigInt(alphabet.length);
  let text = "";
  for (let rest = value; text.length < chars; rest /= base) text = alphabet.charAt(Number(rest % base)) + text;
  return text;
}

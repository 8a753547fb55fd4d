// Owns how the text of one setting is read: each reader answers the value, or what it expected instead.

import { isIP, isIPv4 } from "node:net";
import { type ArmedFailpoint, failpointNames } from "../runtime/failpoint.ts";
import { urlFault } from "../store/pool.ts";
import { parseDuration } from "../task/duration.ts";
import type { Nat64 } from "../webhook/deny-list.ts";

const nat64Choices: readonly Nat64[] = ["block", "decode"];

export type Read<T> = { readonly value: T } | { readonly expected: string };

/** Whether webhooks may go to loopback, link-local and private addresses. */
export type PrivateTargets =
  | { readonly allow: "none" | "all" }
  | { readonly allow: "cidrs"; readonly cidrs: readonly string[] };

const portMax = 65_535;
const apiKeyCharsMin = 16;
const apiKeyCharsMax = 512;
/** Standard Webhooks 1.0.0: 24 to 64 random bytes. */
const secretBytesMin = 24;
const secretBytesMax = 64;
const signingSecretsMax = 2;
const rateLimitMax = 100_000;

export function readPort(text: string): Read<number> {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value <= portMax) return { value };
  return { expected: `a whole number from 0 (a free one) to ${portMax}` };
}

export function readHost(text: string): Read<string> {
  if (isIP(text) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(text)) return { value: text };
  return { expected: "an IP address or a host name, without port or brackets" };
}

/** Whether only this machine can reach a server that listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

export function readDatabaseUrl(text: string): Read<string> {
  const form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
  if (!/^postgres(ql)?:\/\//i.test(text)) return { expected: form };
  const fault = urlFault(text);
  return fault === null ? { value: text } : { expected: `${form} (${fault})` };
}

export function readRedisUrls(text: string): Read<readonly string[]> {
  const urls = text.split(",").map((url) => url.trim());
  if (urls.every(isRedisNode)) return { value: urls };
  return {
    expected: "redis://HOST:PORT or rediss://HOST:PORT, or several nodes of one Redis Cluster, comma-separated",
  };
}

export function readPrivateTargets(text: string): Read<PrivateTargets> {
  if (text === "true") return { value: { allow: "all" } };
  if (text === "false") return { value: { allow: "none" } };
  const cidrs = text.split(",").map((cidr) => cidr.trim());
  if (cidrs.every(isCidr)) return { value: { allow: "cidrs", cidrs } };
  return { expected: "true, false, or CIDRs such as 10.1.0.0/16,fd00::/8" };
}

export function readNat64(text: string): Read<Nat64> {
  const choice = nat64Choices.find((known) => known === text);
  return choice === undefined ? { expected: `one of ${nat64Choices.join(", ")}` } : { value: choice };
}

/** Requests a second. */
export function readRateLimit(text: string): Read<number> {
  const value = Number(text);
  if (/^\d{1,6}$/.test(text) && value >= 1 && value <= rateLimitMax) return { value };
  return { expected: `a whole number from 1 to ${rateLimitMax}` };
}

export function readApiKey(text: string): Read<string> {
  const isPrintable = /^[\x21-\x7e]*$/.test(text);
  if (isPrintable && text.length >= apiKeyCharsMin && text.length <= apiKeyCharsMax) return { value: text };
  return { expected: `${apiKeyCharsMin} to ${apiKeyCharsMax} printable ASCII characters without spaces` };
}

export function readSigningSecrets(text: string): Read<readonly string[]> {
  const secrets = text.split(",").map((secret) => secret.trim());
  if (secrets.length <= signingSecretsMax && secrets.every(isSigningSecret)) return { value: secrets };
  return {
    expected: `whsec_ and the base64 of ${secretBytesMin} to ${secretBytesMax} bytes; two, comma-separated, while rotating`,
  };
}

/** Reads a duration in ms, both limits included. */
export function readDuration(text: string, limits: { minMs: number; maxMs: number }): Read<number> {
  const read = parseDuration(text, limits);
  return "ms" in read ? { value: read.ms } : { expected: `a duration such as P7D or 12h (it ${read.error})` };
}

export function readFailpoint(text: string): Read<ArmedFailpoint> {
  const [, wanted, pass = "1"] = /^([a-z_.]+)(?::([1-9]\d{0,5}))?$/.exec(text) ?? [];
  const name = failpointNames.find((known) => known === wanted);
  if (name !== undefined) return { value: { name, pass: Number(pass) } };
  return { expected: `one of ${failpointNames.join(", ")}, or one of them with :N` };
}

function isSigningSecret(secret: string): boolean {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1];
  if (encoded === undefined) return false;
  const bytes = Buffer.from(encoded, "base64");
  const isCanonical = bytes.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  return isCanonical && bytes.length >= secretBytesMin && bytes.length <= secretBytesMax;
}

function isCidr(text: string): boolean {
  const [, address = "", prefix = ""] = /^([0-9A-Fa-f.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && Number(prefix) <= (family === 4 ? 32 : 128);
}

function isRedisNode(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname, username, password } = new URL(text);
  const isAddress = ["redis:", "rediss:"].includes(protocol) && hostname !== "" && /^(\/\d*)?$/.test(pathname);
  return isAddress && [username, password].every(isDecodable);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

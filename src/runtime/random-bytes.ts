// Owns random bytes for ids, drawn from the system's generator for many at once.

import { randomFillSync } from "node:crypto";

const idBytes = 16;
/** Drawn one by one, the bytes of ids took 4 % of the CPU time of an accept. */
const idsPerDraw = 256;

const drawn = new Uint8Array(idBytes * idsPerDraw);
let used = drawn.length;

/** 16 bytes that were never given out before; to be read before the next call. */
export function randomIdBytes(): Uint8Array {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += idBytes;
  return drawn.subarray(used - idBytes, used);
}

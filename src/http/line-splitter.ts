// Owns cutting a stream of bytes into lines as NDJSON has them (https://github.com/ndjson/ndjson-spec): `\n` ends one, the last may lack
// it, and those of white space alone are passed over, but counted. No more is held than one line.

import { isUtf8 } from "node:buffer";

/** One line that says something; `fault` where it cannot be read. */
export type Line =
  | { readonly number: number; readonly text: string; readonly fault: null }
  | { readonly number: number; readonly fault: "too-long" | "not-utf8" };

const newline = 0x0a;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
const heldBytesFirst = 4_096;

export class LineSplitter {
  readonly #bytesMax: number;
  /** The beginning of a line whose end has not come. It grows as it must, so that bytes that drip in one by one cost no more. */
  #held = Buffer.allocUnsafe(heldBytesFirst);
  #heldLength = 0;
  #isTooLong = false;
  #number = 1;

  /** `bytesMax`: of a line, without what ends it. A longer one is a fault, and is not held. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Buffer): Generator<Line, void> {
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      yield* this.#end(chunk.subarray(from, at));
      from = at + 1;
    }
    this.#hold(chunk.subarray(from));
  }

  /** The last line, where nothing ended it. */
  *finish(): Generator<Line, void> {
    yield* this.#end(Buffer.alloc(0));
  }

  *#end(rest: Buffer): Generator<Line, void> {
    let bytes = rest;
    if (this.#heldLength > 0 || this.#isTooLong) {
      this.#hold(rest);
      bytes = this.#held.subarray(0, this.#heldLength);
    }
    const number = this.#number;
    const isTooLong = this.#isTooLong || lengthOf(bytes) > this.#bytesMax;
    this.#number += 1;
    this.#heldLength = 0;
    this.#isTooLong = false;
    if (isTooLong) yield { number, fault: "too-long" };
    else if (!isUtf8(bytes)) yield { number, fault: "not-utf8" };
    else {
      // RFC 8259, section 8.1: a byte order mark before the first text may be ignored.
      const hasMark = number === 1 && bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark);
      const text = bytes.toString("utf8", hasMark ? byteOrderMark.length : 0);
      if (!isBlank(text)) yield { number, text, fault: null };
    }
  }

  #hold(piece: Buffer): void {
    const length = this.#heldLength + piece.length;
    // The one byte more may be the `\r` of a `\r\n`.
    if (this.#isTooLong || length > this.#bytesMax + 1) {
      this.#isTooLong = true;
      this.#held = Buffer.allocUnsafe(heldBytesFirst);
      this.#heldLength = 0;
      return;
    }
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(length, Math.min(2 * this.#held.length, this.#bytesMax + 1)));
      this.#held.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    piece.copy(this.#held, this.#heldLength);
    this.#heldLength = length;
  }
}

const carriageReturn = 0x0d;

/** Without the `\r` of a `\r\n`. */
function lengthOf(bytes: Buffer): number {
  return bytes.at(-1) === carriageReturn ? bytes.length - 1 : bytes.length;
}

/** Of nothing but JSON's white space. */
function isBlank(text: string): boolean {
  return /^[ \t\r]*$/.test(text);
}

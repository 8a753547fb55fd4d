// Owns what is kept of an answer's body: the beginning, as text that can be stored.

import { storableText } from "../task/storable-text.ts";

const snippetBytesMax = 1_024;
/** U+FFFD in UTF-8: the most that one byte can become. */
const replacementBytes = 3;
/** For what is short, as most answers are: to make one for each answer took 1.7 µs. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const noBytes = Buffer.alloc(0);

/** Collects the first 1 KiB of an answer; copies no more than that, so that a chunk's memory is not held. */
export class Snippet {
  #bytes = noBytes;
  #isCut = false;

  add(chunk: Buffer): void {
    const room = snippetBytesMax - this.#bytes.length;
    if (chunk.length > room) this.#isCut = true;
    if (room > 0) this.#bytes = Buffer.concat([this.#bytes, chunk.subarray(0, room)]);
  }

  /** Lossy UTF-8, cut at a character's edge, at most 1 KiB also where what was not UTF-8 has become U+FFFD. */
  text(): string {
    if (this.#bytes.length === 0) return "";
    if (!this.#isCut && this.#bytes.length * replacementBytes <= snippetBytesMax) {
      const whole = decoder.decode(this.#bytes);
      return storableText(whole, whole.length);
    }
    // `stream` keeps back a character whose end was cut off, instead of calling it malformed.
    const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#bytes, { stream: this.#isCut });
    const { read } = new TextEncoder().encodeInto(decoded.replaceAll("\0", "\uFFFD"), new Uint8Array(snippetBytesMax));
    return storableText(decoded, read);
  }
}

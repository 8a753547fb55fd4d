// Owns what is kept of an answer's body: the beginning, as text that can be stored.

import { storableText } from "../task/storable-text.ts";

const snippetBytesMax = 1_024;
/** Made once: with new ones for each answer its text took 1.7 µs. */
const encoder = new TextEncoder();
const encoded = new Uint8Array(snippetBytesMax);
const utf8 = ["utf-8", { ignoreBOM: true }] as const;
const wholeDecoder = new TextDecoder(...utf8);
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

  /** Lossy UTF-8, cut at a character's edge, at most 1 KiB also where what was not UTF-8 has become U+FFFD, of three bytes each. */
  text(): string {
    if (this.#bytes.length === 0) return "";
    // `stream` keeps back a character whose end was cut off, instead of calling it malformed: such a decoder is not used again.
    const decoder = this.#isCut ? new TextDecoder(...utf8) : wholeDecoder;
    const decoded = decoder.decode(this.#bytes, { stream: this.#isCut });
    const { read } = encoder.encodeInto(decoded.replaceAll("\0", "\uFFFD"), encoded);
    return storableText(decoded, read);
  }
}

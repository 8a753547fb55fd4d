// Owns reading what PostgreSQL answers (protocol 3, messages of type, length and content): when a write has committed.

const headerBytes = 5;
const commandComplete = "C".charCodeAt(0);
const readyForQuery = "Z".charCodeAt(0);
/** In ReadyForQuery: outside of any transaction, so that what was written is committed. */
const idle = "I".charCodeAt(0);
const writeTag = /^(COMMIT|INSERT|UPDATE|DELETE)\b/;

/** Follows one connection's answers, piece by piece. Other protocols' bytes never look like a write's end. */
export class WriteWatch {
  #rest: Buffer = Buffer.alloc(0);
  #hasWritten = false;

  /** Whether this piece ends the answer to a write that is committed: its INSERT, UPDATE, DELETE or COMMIT, and no transaction left. */
  saw(piece: Buffer): boolean {
    let isEnd = false;
    let bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (bytes.length >= headerBytes) {
      const length = 1 + bytes.readUInt32BE(1);
      if (bytes.length < length) break;
      const content = bytes.subarray(headerBytes, length);
      if (bytes[0] === commandComplete && writeTag.test(content.toString("latin1"))) this.#hasWritten = true;
      if (bytes[0] === readyForQuery && content[0] === idle) {
        isEnd ||= this.#hasWritten;
        this.#hasWritten = false;
      }
      bytes = bytes.subarray(length);
    }
    this.#rest = bytes;
    return isEnd;
  }
}

// Owns reading what is said on a connection to PostgreSQL (protocol 3, messages of type, length and content): when a write has committed.

const lengthBytes = 4;
const typeBytes = 1;
const [parse, bind, query, sync, readyForQuery] = Buffer.from("PBQSZ");
/** In ReadyForQuery: outside of any transaction, so that what was written is committed. */
const idle = "I".charCodeAt(0);
/** (`for update` only locks.) */
const writes = /\b(insert into|update|delete from) lapse\./i;

/** Follows one connection both ways, piece by piece. Other protocols' bytes never look like a write's end. */
export class WriteWatch {
  readonly #asked = new Messages({ hasGreeting: true });
  readonly #answered = new Messages({ hasGreeting: false });
  /** Prepared statements that write. */
  readonly #writing = new Set<string>();
  /** Of each round that was asked for and not answered: whether it writes. */
  readonly #rounds: boolean[] = [];
  #isWriting = false;
  #hasWritten = false;

  /** Follows what the client says: never the end of an answer. */
  ask(piece: Buffer): false {
    for (const { type, content } of this.#asked.read(piece)) {
      const [first = "", second = ""] = content.toString("latin1").split("\0", 2);
      if (type === parse && writes.test(second)) this.#writing.add(first);
      if (type === bind) this.#isWriting ||= this.#writing.has(second);
      if (type === query) this.#isWriting = writes.test(first);
      if (type !== sync && type !== query) continue;
      this.#rounds.push(this.#isWriting);
      this.#isWriting = false;
    }
    return false;
  }

  /** Whether this piece ends the answer to a write that is committed. */
  saw(piece: Buffer): boolean {
    let isEnd = false;
    for (const { type, content } of this.#answered.read(piece)) {
      if (type !== readyForQuery) continue;
      this.#hasWritten = (this.#rounds.shift() ?? false) || this.#hasWritten;
      if (content[0] !== idle) continue;
      isEnd ||= this.#hasWritten;
      this.#hasWritten = false;
    }
    return isEnd;
  }
}

interface Message {
  readonly type: number | undefined;
  readonly content: Buffer;
}

/** One side's messages, however they were cut into pieces. */
class Messages {
  #rest: Buffer = Buffer.alloc(0);
  /** The first message of a client has no type. */
  #hasGreeting: boolean;

  constructor({ hasGreeting }: { hasGreeting: boolean }) {
    this.#hasGreeting = hasGreeting;
  }

  *read(piece: Buffer): Iterable<Message> {
    this.#rest = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    for (;;) {
      const start = this.#hasGreeting ? 0 : typeBytes;
      if (this.#rest.length < start + lengthBytes) return;
      const end = start + this.#rest.readUInt32BE(start);
      if (this.#rest.length < end) return;
      const message = { type: this.#rest[0], content: this.#rest.subarray(start + lengthBytes, end) };
      this.#rest = this.#rest.subarray(end);
      if (!this.#hasGreeting) yield message;
      this.#hasGreeting = false;
    }
  }
}

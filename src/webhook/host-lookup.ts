// Owns what names resolve to. Names are looked up by the system's resolver (hosts file and all) on libuv's thread pool, whose threads a
// resolver that hangs would use up; so each name takes one of them at a time, and its answer serves a burst of calls.

import dns from "node:dns";
import { monotonicMs } from "../runtime/clock.ts";

/** Answers every address of a name, in the resolver's order; rejects with Node's error where there is none. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Shorter than most names' time to live, so that a receiver that moves is found again. */
export const keptMs = 10_000;
/** Far more names than are called within that time; the oldest answer goes first. */
const namesMax = 1_000;

interface Answer {
  readonly addresses: Promise<readonly string[]>;
  /** By the monotonic clock; null while it is being looked up. */
  expiresAtMs: number | null;
}

/** The system's resolver. */
export function systemLookup(host: string): Promise<readonly string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  dns.lookup(host, { all: true }, (error, found) => {
    if (error === null) resolve(found.map(({ address }) => address));
    else reject(error);
  });
  return promise;
}

/** Looks each name up once for all who ask meanwhile, and for 10 s after. A failure is not kept. */
export function keepingLookup(lookup: Lookup): Lookup {
  const answers = new Map<string, Answer>();
  const ask = (host: string): Answer => {
    const answer: Answer = { addresses: lookup(host), expiresAtMs: null };
    const keep = async (): Promise<void> => {
      try {
        await answer.addresses;
        answer.expiresAtMs = monotonicMs() + keptMs;
      } catch {
        if (answers.get(host) === answer) answers.delete(host);
      }
    };
    void keep();
    return answer;
  };
  return (host) => {
    const standing = answers.get(host);
    if (standing !== undefined && (standing.expiresAtMs === null || monotonicMs() < standing.expiresAtMs))
      return standing.addresses;
    const answer = ask(host);
    answers.delete(host);
    answers.set(host, answer);
    for (const oldest of answers.keys()) {
      if (answers.size <= namesMax) break;
      answers.delete(oldest);
    }
    return answer.addresses;
  };
}

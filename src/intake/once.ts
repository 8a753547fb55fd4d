// Owns answering once an Idempotency-Key: the answer is kept in the transaction of what it answers, so that both survive or vanish.

import { sql } from "kysely";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Connection, Database } from "../store/database.ts";
import { LockTimeoutError } from "../store/errors.ts";
import { type KeptAnswer, keepAnswer, readAnswer, reserveName } from "../store/idempotency.ts";
import type { TaskRequest } from "../task/new-task.ts";
import type { Acceptor } from "./acceptor.ts";
import type { IdempotencyScope, StoredAnswer } from "./idempotency.ts";
import { type AcceptOutcome, isRefused } from "./outcomes.ts";

/** How long a request waits for another under the same key before it is told that one is in progress. */
const inProgressWaitMs = 5_000;
const lookAgainMs = 50;

export type OnceOutcome =
  | { readonly kind: "answered"; readonly answer: StoredAnswer; readonly replayed: boolean }
  /** The key was used with another body. */
  | { readonly kind: "mismatch" }
  | { readonly kind: "in-progress" };

/** What is done once a key. */
export interface OnceWork<Outcome> {
  readonly idempotency: IdempotencyScope;
  /** Within the transaction that keeps the answer. */
  readonly work: (trx: Connection) => Promise<Outcome>;
  readonly render: (outcome: Outcome) => StoredAnswer;
  /** What it came to where a stranger's lock was waited for in vain. */
  readonly locked: Outcome;
  /** Once it is committed. */
  readonly onCommitted: (outcome: Outcome) => void;
}

/** What a transaction under a key came to: an answer, or that the key is another's. */
type Tried<Outcome> = { readonly answer: StoredAnswer; readonly outcome: Outcome } | null;

export class Once {
  readonly #database: Database;
  /** By key and fingerprint. */
  readonly #underWay = new Map<string, Promise<OnceOutcome>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Works once a key: a second request with the same key and fields is answered like the first, and does nothing. Of those that come at
   * once one works, and no other needs a connection: where each did, most of 1,000 waited for one in vain, and were told 503.
   */
  async answer<Outcome>(once: OnceWork<Outcome>): Promise<OnceOutcome> {
    const { apiKeyId, method, path, key, fingerprint } = once.idempotency;
    const name = JSON.stringify([apiKeyId, method, path, key, fingerprint]);
    const first = this.#underWay.get(name);
    if (first !== undefined) return repeated(await waitedFor(first));
    const own = answerOnce(this.#database, once);
    this.#underWay.set(name, own);
    try {
      return await own;
    } finally {
      this.#underWay.delete(name);
    }
  }
}

/** Its work may take longer than a repeat waits: a large batch, or a Postgres that is slow to answer. */
async function waitedFor(first: Promise<OnceOutcome>): Promise<OnceOutcome> {
  const waited = new AbortController();
  const late = sleep(inProgressWaitMs, waited.signal).then((): OnceOutcome => ({ kind: "in-progress" }));
  return Promise.race([first, late]).finally(() => waited.abort());
}

function repeated(outcome: OnceOutcome): OnceOutcome {
  return outcome.kind === "answered" && isKept(outcome.answer) ? { ...outcome, replayed: true } : outcome;
}

/** Most keys are new, so the work is tried first, and a kept answer looked for where the key is taken. */
async function answerOnce<Outcome>(database: Database, once: OnceWork<Outcome>): Promise<OnceOutcome> {
  const untilMs = monotonicMs() + inProgressWaitMs;
  while (true) {
    const tried = await tryOnce(database, once);
    if (tried !== null) {
      failpoint("accept.once_committed");
      if (isKept(tried.answer)) once.onCommitted(tried.outcome);
      return { kind: "answered", answer: tried.answer, replayed: false };
    }
    const kept = await database.query((connection) => readAnswer(connection, once.idempotency));
    if (kept !== null) return replay(kept, once.idempotency);
    if (monotonicMs() >= untilMs) return { kind: "in-progress" };
    await sleep(lookAgainMs);
  }
}

function replay({ fingerprint, status, headers, body }: KeptAnswer, idempotency: IdempotencyScope): OnceOutcome {
  if (fingerprint !== idempotency.fingerprint) return { kind: "mismatch" };
  return { kind: "answered", answer: { status, headers: { ...headers }, body }, replayed: true };
}

/** Null where another transaction holds the key, or has just answered under it. */
async function tryOnce<Outcome>(database: Database, once: OnceWork<Outcome>): Promise<Tried<Outcome>> {
  const { idempotency, work, render, locked } = once;
  let reserved = false;
  let unkept: Tried<Outcome> = null;
  try {
    return await database.patient.transaction(async (trx) => {
      reserved = await reserveName(trx, idempotency, idempotency.fingerprint);
      failpoint("accept.reserved");
      if (!reserved) return null;
      const outcome = await work(trx);
      const answer = render(outcome);
      if (isKept(answer)) await keepAnswer(trx, idempotency, answer);
      else {
        unkept = { answer, outcome };
        throw new UnkeptAnswer();
      }
      failpoint("accept.answer_kept");
      return { answer, outcome };
    });
  } catch (error) {
    if (error instanceof UnkeptAnswer) return unkept;
    if (!(error instanceof LockTimeoutError)) throw error;
    return reserved ? { answer: render(locked), outcome: locked } : null;
  }
}

/** Rolls the transaction of an answer back that is not kept. */
class UnkeptAnswer extends Error {}

function isKept({ status }: StoredAnswer): boolean {
  return (status >= 200 && status < 300) || status === 409;
}

export interface OnceRequest {
  readonly tasks: readonly TaskRequest[];
  readonly atomic: boolean;
  readonly idempotency: IdempotencyScope;
  readonly render: (outcomes: AcceptOutcome[]) => StoredAnswer;
}

/** Outcomes as the answer tells them, and those of them that were stored. */
interface Accepted {
  readonly told: AcceptOutcome[];
  readonly stored: readonly AcceptOutcome[];
}

/** Accepts tasks once a key. */
export async function acceptOnce(once: Once, acceptor: Acceptor, request: OnceRequest): Promise<OnceOutcome> {
  const { tasks, idempotency, render } = request;
  await acceptor.ensureQueues(tasks);
  return once.answer<Accepted>({
    idempotency,
    work: (trx) => acceptIn(trx, acceptor, request),
    render: ({ told }) => render(told),
    locked: { told: tasks.map(() => ({ kind: "locked" })), stored: [] },
    onCommitted: ({ stored }) => acceptor.signal(stored),
  });
}

/** A refused atomic batch stores none of its tasks, and its refusal is an answer like any other. */
async function acceptIn(trx: Connection, acceptor: Acceptor, { tasks, atomic }: OnceRequest): Promise<Accepted> {
  if (!atomic) {
    const told = await acceptor.acceptIn(trx, tasks);
    return { told, stored: told };
  }
  await sql`savepoint tasks`.execute(trx);
  const told = await acceptor.acceptIn(trx, tasks);
  const refused = told.some(isRefused);
  if (refused) await sql`rollback to savepoint tasks`.execute(trx);
  return { told, stored: refused ? [] : told };
}

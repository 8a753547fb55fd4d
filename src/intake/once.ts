// Owns accepting under an Idempotency-Key: the answer is kept in the task's own transaction, so that it survives or vanishes with it.

import { sql } from "kysely";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Connection, Database } from "../store/database.ts";
import { LockTimeoutError } from "../store/errors.ts";
import { keepAnswer, readAnswer, reserveName } from "../store/idempotency.ts";
import type { TaskRequest } from "../task/new-task.ts";
import { type Acceptor, isRefused } from "./acceptor.ts";
import type { IdempotencyScope, StoredAnswer } from "./idempotency.ts";
import type { AcceptOutcome } from "./outcomes.ts";

/** How long a request waits for another under the same key before it is told that one is in progress. */
const inProgressWaitMs = 5_000;
const lookAgainMs = 50;

export type OnceOutcome =
  | { readonly kind: "answered"; readonly answer: StoredAnswer; readonly replayed: boolean }
  /** The key was used with another body. */
  | { readonly kind: "mismatch" }
  | { readonly kind: "in-progress" };

export interface OnceRequest {
  readonly tasks: readonly TaskRequest[];
  readonly atomic: boolean;
  readonly idempotency: IdempotencyScope;
  readonly render: (outcomes: AcceptOutcome[]) => StoredAnswer;
}

/** What a transaction under a key came to: an answer, or that the key is another's. */
type Tried = { readonly answer: StoredAnswer; readonly outcomes: readonly AcceptOutcome[] } | null;

/** Accepts tasks once a key: a second request with the same key and body is answered like the first, and stores nothing. */
export async function acceptOnce(database: Database, acceptor: Acceptor, request: OnceRequest): Promise<OnceOutcome> {
  const untilMs = monotonicMs() + inProgressWaitMs;
  while (true) {
    const kept = await database.query((connection) => readAnswer(connection, request.idempotency));
    if (kept !== null) {
      if (kept.fingerprint !== request.idempotency.fingerprint) return { kind: "mismatch" };
      return {
        kind: "answered",
        answer: { status: kept.status, headers: { ...kept.headers }, body: kept.body },
        replayed: true,
      };
    }
    const tried = await tryOnce(database, acceptor, request);
    if (tried !== null) {
      failpoint("accept.once_committed");
      if (isKept(tried.answer)) acceptor.signal(tried.outcomes);
      return { kind: "answered", answer: tried.answer, replayed: false };
    }
    if (monotonicMs() >= untilMs) return { kind: "in-progress" };
    await sleep(lookAgainMs);
  }
}

/** Null where another transaction holds the key, or has just answered under it. */
async function tryOnce(database: Database, acceptor: Acceptor, request: OnceRequest): Promise<Tried> {
  const { tasks, idempotency } = request;
  let reserved = false;
  let unkept: Tried = null;
  await acceptor.ensureQueues(tasks);
  try {
    return await database.patient.transaction(async (trx) => {
      reserved = await reserveName(trx, idempotency, idempotency.fingerprint);
      failpoint("accept.reserved");
      if (!reserved) return null;
      const tried = await answerIn(trx, acceptor, request);
      if (isKept(tried.answer)) await keepAnswer(trx, idempotency, tried.answer);
      else {
        unkept = tried;
        throw new UnkeptAnswer();
      }
      failpoint("accept.answer_kept");
      return tried;
    });
  } catch (error) {
    if (error instanceof UnkeptAnswer) return unkept;
    if (!(error instanceof LockTimeoutError)) throw error;
    if (!reserved) return null;
    const outcomes = tasks.map((): AcceptOutcome => ({ kind: "locked" }));
    return { answer: request.render(outcomes), outcomes };
  }
}

/** A refused atomic batch stores none of its tasks, and its refusal is an answer like any other. */
async function answerIn(
  trx: Connection,
  acceptor: Acceptor,
  { tasks, atomic, render }: OnceRequest,
): Promise<NonNullable<Tried>> {
  if (!atomic) {
    const outcomes = await acceptor.acceptIn(trx, tasks);
    return { answer: render(outcomes), outcomes };
  }
  await sql`savepoint tasks`.execute(trx);
  const outcomes = await acceptor.acceptIn(trx, tasks);
  const refused = outcomes.some(isRefused);
  if (refused) await sql`rollback to savepoint tasks`.execute(trx);
  return { answer: render(outcomes), outcomes: refused ? [] : outcomes };
}

/** Rolls the transaction of an answer back that is not kept. */
class UnkeptAnswer extends Error {}

function isKept({ status }: StoredAnswer): boolean {
  return (status >= 200 && status < 300) || status === 409;
}

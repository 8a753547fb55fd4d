// Owns confinement: the condition that keeps a statement to the queues that its caller can see.

import { type RawBuilder, sql } from "kysely";

/** The queues whose tasks a caller can see; null is all. For the others it is as if they held no task. */
export type Reach = readonly string[] | null;

/** Names one task to whoever can see it. */
export interface TaskId {
  readonly id: string;
  readonly reach: Reach;
}

/** For a statement's `where`, never for its result: a row out of reach must be neither locked nor waited for. */
export function withinReach(reach: Reach): RawBuilder<boolean> {
  return reach === null ? sql<boolean>`true` : sql<boolean>`queue = any(${[...reach]}::text[])`;
}

// Owns how much each figure does.

export interface Sizes {
  readonly rounds: number;
  readonly warmUpTasks: number;
  readonly acceptWarmMs: number;
  readonly acceptMs: number;
  readonly bulkWarmTasks: number;
  readonly bulkTasks: number;
  readonly drainTasks: number;
  readonly cancelTasks: number;
  readonly latenessMs: number;
  /** Where the rate would make more of them in that time. */
  readonly latenessTasksMax: number;
  readonly bytesTasks: number;
  readonly backlogTasks: number;
}

/** About 20 minutes. */
export const fullSizes: Sizes = {
  rounds: 3,
  warmUpTasks: 2_000,
  acceptWarmMs: 500,
  acceptMs: 4_000,
  bulkWarmTasks: 10_000,
  bulkTasks: 50_000,
  drainTasks: 20_000,
  cancelTasks: 10_000,
  latenessMs: 7_000,
  latenessTasksMax: 4_000,
  bytesTasks: 20_000,
  backlogTasks: 1_000_000,
};

/** A minute or two: it shows that all of it works, and little more. */
export const quickSizes: Sizes = {
  rounds: 1,
  warmUpTasks: 500,
  acceptWarmMs: 300,
  acceptMs: 1_000,
  bulkWarmTasks: 2_000,
  bulkTasks: 5_000,
  drainTasks: 2_000,
  cancelTasks: 2_000,
  latenessMs: 1_000,
  latenessTasksMax: 1_000,
  bytesTasks: 5_000,
  backlogTasks: 10_000,
};

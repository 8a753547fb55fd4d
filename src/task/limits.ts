// Owns the limits of a task's own terms, wherever they come from: the API holds callers to them, and firing the rows that SQL made.

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const dayMs = 24 * 60 * minuteMs;

export const timeoutMinMs = 100;
export const timeoutMaxMs = 15 * minuteMs;

/** How far ahead a receiver may put the next call: ten years, three of them leap years at most. */
export const receiverDelayMaxMs = 3_653 * dayMs;

export const attemptsMin = 1;
export const attemptsMax = 100;
export const retryDelayMaxMs = 30 * dayMs;
export const retryFactorMin = 1;
export const retryFactorMax = 100;
export const retryJitterMax = 1;

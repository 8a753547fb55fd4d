// Owns the verdict: everything that must hold once the last order is decided, and a sentence for each time that it does not.

import type { Visit } from "./customers.ts";
import type { Evidence } from "./evidence.ts";
import type { Order } from "./orders.ts";

/** Both paid and lapsed, or neither: what a payment deadline must never lead to. */
export function isBothOrNeither({ paidAt, lapsedAt }: Order): boolean {
  return (paidAt === null) === (lapsedAt === null);
}

/** Every fault; none where all is well. */
export function findFaults(evidence: Evidence): string[] {
  return [
    ...evidence.orders.flatMap((order) => orderFaults(order, evidence)),
    ...visitFaults(evidence),
    ...callFaults(evidence),
    ...(evidence.audit.balanced ? [] : ["Lapse's audit does not balance"]),
    ...(evidence.audit.overdueCount === 0 ? [] : [`Lapse's audit has ${evidence.audit.overdueCount} tasks overdue`]),
  ];
}

function orderFaults(order: Order, { tasks, calls }: Evidence): string[] {
  const { id, taskId, paidAt, lapsedAt, refundedAt, restockCount } = order;
  const faults: string[] = [];
  if (paidAt !== null && lapsedAt !== null) faults.push("is both paid and lapsed");
  if (paidAt === null && lapsedAt === null) faults.push("is neither paid nor lapsed");
  if (restockCount > 1) faults.push(`has lapsed ${restockCount} times`);
  if (refundedAt !== null && lapsedAt === null) faults.push("was refunded, and has not lapsed");

  const state = tasks.get(taskId)?.state ?? "missing";
  const stateWanted = paidAt === null ? "succeeded" : "cancelled";
  if (state !== stateWanted) faults.push(`has a task that is ${state}, not ${stateWanted}`);
  if (paidAt !== null && calls.some((call) => call.taskId === taskId && call.arrivedAt > paidAt))
    faults.push("was called for after its cancel was answered");
  return faults.map((fault) => `order ${id} ${fault}`);
}

/** The shop's books say the same as it told its customers. */
function visitFaults({ visits, orders }: Evidence): string[] {
  const faults =
    visits.length === orders.length
      ? []
      : [`${visits.length} orders were placed, and ${orders.length} are in the books`];
  const byId = new Map(orders.map((order) => [order.id, order]));
  for (const { orderId, payment } of visits) {
    const order = byId.get(orderId);
    const inBooks = order === undefined ? "missing" : paymentOf(order);
    if (inBooks !== payment) faults.push(`order ${orderId} is ${inBooks}, and its customer was told ${payment}`);
  }
  return faults;
}

function paymentOf({ paidAt, refundedAt }: Order): Visit["payment"] {
  if (paidAt !== null) return "paid";
  return refundedAt === null ? "none" : "refunded";
}

function callFaults({ calls, tasks, forgeryStatus }: Evidence): string[] {
  const faults = calls
    .filter(({ taskId }) => tasks.has(taskId))
    .flatMap(({ taskId, attempt, arrivedAt, dueAt, status }) => [
      ...(arrivedAt < dueAt ? [`task ${taskId} fired ${dueAt - arrivedAt} ms early`] : []),
      ...(status === 200 || status === 204 ? [] : [`attempt ${attempt} of task ${taskId} was answered with ${status}`]),
    ]);
  if (forgeryStatus !== 401) faults.push(`a forged webhook was answered with ${forgeryStatus}, not 401`);
  const lost = calls.filter(({ isAnswerLost }) => isAnswerLost).length;
  const repeats = calls.filter(({ attempt }) => attempt > 1).length;
  if (lost !== repeats) faults.push(`${lost} answers were lost, and ${repeats} calls repeated`);
  return faults;
}

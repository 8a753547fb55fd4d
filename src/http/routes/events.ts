// Owns the stream of events: Server-Sent Events, from now on or after the last one that the client had.

import type { StreamAnswer } from "../answer.ts";
import { streamsRetryAfterSeconds } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem } from "../problem.ts";
import { defineRoute, type Route } from "../route.ts";
import { eventsHeaders, eventsQuery, exampleEvent } from "../schemas/events.ts";

type EventParts = Pick<ApiParts, "events">;

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  // nginx would hold events back until its buffer is full.
  "x-accel-buffering": "no",
};

const example = `id: ${exampleEvent.id}\nevent: ${exampleEvent.type}\ndata: ${JSON.stringify(exampleEvent)}\n\n`;

export function eventRoutes({ events }: EventParts): Route[] {
  return [
    defineRoute({
      method: "get",
      path: "/v1/events",
      access: "tasks:read",
      query: eventsQuery,
      doc: {
        tag: "Events",
        operationId: "streamEvents",
        summary: "Follow what happens",
        description: about,
        headers: eventsHeaders,
        answers: {
          200: { description: "Server-Sent Events, without end.", contentType: "text/event-stream", example },
        },
        problems: ["too-many-streams"],
      },
      async handle({ query, headers: sent, caller }): Promise<StreamAnswer> {
        const { queue, type = null, lastEventId } = query;
        const inSight = (name: string): boolean => caller.queues?.includes(name) ?? true;
        const queues = queue === undefined ? caller.queues : [queue].filter(inSight);
        const opened = await events.open(
          { types: type, queues },
          lastIdOf(sent["last-event-id"]) ?? lastEventId ?? null,
        );
        if (opened === null) {
          const retryAfter = { "retry-after": String(streamsRetryAfterSeconds) };
          throw new ApiProblem("too-many-streams", {
            detail: "Come back later, or ask another process.",
            headers: retryAfter,
          });
        }
        return { status: 200, headers, open: (sink) => opened.run(sink) };
      },
    }),
  ];
}

const about = `Each event is written with the change itself and kept for 24 h. \`id\` is its place, \`event\` its type, \`data\` its JSON (see Event). Delivery is at least once, in the order of places.

A stream begins with what is committed after its head was sent, or after \`Last-Event-ID\`. Where that is older than 24 h, or none of this database's, the first event is \`event: reset\`: look at the tasks anew, and go on from there. Every 15 s a comment keeps the connection alive. A reader that takes nothing for 30 s is cut off, and a stream ends when its process does or its key is revoked: come back with \`Last-Event-ID\`. A process has up to 100 streams.

An event is passed on once no older transaction in this database that wrote something is open, so that none ever comes behind one that was passed on: a transaction of your own that stays open holds all events back until it ends (metric \`lapse_events_held_ms\`).

| type | when |
| --- | --- |
| \`task.created\` | accepted; one that a tombstone stops on arrival is also \`task.cancelled\` |
| \`task.started\` | an attempt began |
| \`task.succeeded\`, \`task.failed\`, \`task.missed\`, \`task.cancelled\` | it ended so. A cancel that came too late (202) is told of when the task ends |
| \`task.attempt-failed\` | an attempt ended \`failed\`, \`timed-out\`, \`refused\`, \`blocked\` or \`lost\`; \`nextAttemptAt\` says when the next is, or \`task.failed\` follows |
| \`task.rescheduled\` | it waits with another due time or definition: by run, PATCH, replace, retry, or its receiver's \`lapse-reschedule\`. Not by backoff, nor where it is put off because its origin does not answer |
| \`task.paused\`, \`task.resumed\` | also by a start after a long stop |
| \`schedule.max-instances\`, \`schedule.ended\` | an occurrence was due while too many ran; no occurrence is left, or its receiver ended it |
| \`queue.paused\`, \`queue.resumed\` | |
| \`origin.parked\`, \`origin.resumed\` | a dispatcher (each judges for itself) gave up calling an origin, or calls it again |

A key that is confined to queues is told of those alone. Tasks of the queues \`lapse:…\`, Lapse's own, are no events.`;

function lastIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" && header !== "" ? header : undefined;
}

// Owns the checks of the problem table and of what thrown errors become.

import { describe, expect, test } from "vitest";
import { ApiProblem, type ProblemName, problemAnswer, problemOf, problemTypes } from "../../src/http/problem.ts";
import { problemAnswerBody } from "../../src/http/schemas/answers.ts";
import { LockTimeoutError, StoreUnavailableError } from "../../src/store/errors.ts";
import { stubParts } from "./stub-parts.ts";

const { log } = stubParts();

describe("the table", () => {
  test.each(Object.entries(problemTypes))(
    "gives %s a stable type, a title and its status",
    (name, { status, title }) => {
      const answer = problemAnswer(new ApiProblem(name as ProblemName, "Why."));
      expect(answer.status).toBe(status);
      expect(answer.headers).toEqual({ "content-type": "application/problem+json" });
      expect(JSON.parse(answer.body.toString())).toEqual({
        type: `urn:lapse:problem:${name}`,
        title,
        status,
        detail: "Why.",
      });
    },
  );

  test("has no title twice", () => {
    const titles = Object.values(problemTypes).map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
  });
});

test("a problem's members come in the contract's order, its own last", () => {
  const problem = new ApiProblem("key-conflict", {
    detail: "d",
    errors: [{ path: "/key", message: "m" }],
    extensions: { state: "running" },
  });
  const body: unknown = JSON.parse(JSON.stringify(problem));
  expect(Object.keys(body as object)).toEqual(["type", "title", "status", "detail", "errors", "state"]);
  expect(() => problemAnswerBody.parse(body)).not.toThrow();
});

describe("what was thrown becomes a problem", () => {
  test("a problem is itself", () => {
    const problem = new ApiProblem("task-not-found", "");
    expect(problemOf(problem, log)).toBe(problem);
  });

  test("a lost Postgres is a 503 that says when to come back", () => {
    const { status, details } = problemOf(new StoreUnavailableError(new Error("ECONNREFUSED 10.0.0.7:5432")), log);
    expect(status).toBe(503);
    expect(details.headers).toEqual({ "retry-after": "2" });
  });

  test("a stranger's lock is a 503 that says when to come back", () => {
    const { status, details } = problemOf(new LockTimeoutError(new Error("55P03")), log);
    expect(status).toBe(503);
    expect(details.headers).toEqual({ "retry-after": "1" });
  });

  test.each([new Error("select secret from tasks"), "text", null, Object.assign(new Error("x"), { status: 400 })])(
    "anything else is a 500 that shows nothing of it: %s",
    (error) => {
      const answer = problemAnswer(problemOf(error, log));
      expect(answer.status).toBe(500);
      expect(JSON.parse(answer.body.toString())).toEqual({
        type: "urn:lapse:problem:internal",
        title: "Something went wrong inside Lapse",
        status: 500,
        detail: "The log has more, under the id in `instance`.",
        instance: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
      });
    },
  );

  test("the log has the error under the answer's instance", () => {
    const lines: unknown[] = [];
    const error = new Error("select secret from tasks");
    const problem = problemOf(error, { ...log, error: (line: unknown) => void lines.push(line) });
    expect(lines).toEqual([{ err: error, instance: problem.details.extensions?.instance }]);
  });
});

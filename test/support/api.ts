// Owns calling the API in tests. Each answer is held to the OpenAPI document and to the schemas it was made of: a status or a problem that
// the document does not name for its route, or a member that the schema does not know, fails the test that met it.

import { Agent, type Dispatcher } from "undici";
import type { z } from "zod";
import { createRoutes } from "../../src/http/app.ts";
import { problemContentType } from "../../src/http/problem.ts";
import type { Route } from "../../src/http/route.ts";
import { type attemptAnswer, problemAnswerBody, type taskAnswer } from "../../src/http/schemas/answers.ts";
import { stubParts } from "../http/stub-parts.ts";

export type TaskJson = z.output<typeof taskAnswer>;
export type AttemptJson = z.output<typeof attemptAnswer>;
export interface ProblemJson {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
  readonly [extension: string]: unknown;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body, read as JSON. */
  readonly json: unknown;
  /** The body as a task; throws where it is none. */
  readonly task: TaskJson;
  /** The body as a problem; throws where it is none. */
  readonly problem: ProblemJson;
  /** The body of a 2xx as the test says that it is; throws where a problem came. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- A cast that reads from left to right.
  as<T>(): T;
}

export interface CallOptions {
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, as JSON unless the headers say otherwise. */
  readonly text?: string;
  /** A list is name, value, name, value … */
  readonly headers?: Readonly<Record<string, string>> | readonly string[];
}

type Method = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";

export interface TestApi {
  call(method: Method, path: string, options?: CallOptions): Promise<ApiAnswer>;
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>;
  post(path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>;
  put(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>;
  patch(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>;
  delete(path: string, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>;
  close(): Promise<void>;
}

interface Operation {
  readonly responses: Readonly<
    Record<
      string,
      { readonly content?: Readonly<Record<string, { readonly examples?: Readonly<Record<string, unknown>> }>> }
    >
  >;
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

/** Calls the API at `url`, with the key where there is one. */
export async function createApi(url: string, apiKey: string | null): Promise<TestApi> {
  const agent = new Agent();
  const authorization: Record<string, string> = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
  const paths = await readPaths(agent, url);
  const routes = createRoutes(stubParts());

  const call = async (method: Method, path: string, options: CallOptions = {}): Promise<ApiAnswer> => {
    const text = options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const type = text === undefined ? {} : { "content-type": "application/json" };
    const given = options.headers ?? {};
    const headers = isList(given)
      ? [...Object.entries({ ...authorization, ...type }).flat(), ...given]
      : { ...authorization, ...type, ...given };
    const sent = await agent.request({
      origin: url,
      path,
      method: method,
      headers,
      body: text ?? null,
    });
    const answer = toAnswer(sent.statusCode, sent.headers, await textOf(sent));
    if (method !== "HEAD") conform(answer, findRoute(routes, method, path), paths);
    return answer;
  };
  const optional = (headers: Readonly<Record<string, string>> | undefined): CallOptions =>
    headers === undefined ? {} : { headers };
  return {
    call,
    get: (path, headers) => call("GET", path, optional(headers)),
    post: (path, body, headers) => call("POST", path, { body, ...optional(headers) }),
    put: (path, body, headers) => call("PUT", path, { body, ...optional(headers) }),
    patch: (path, body, headers) => call("PATCH", path, { body, ...optional(headers) }),
    delete: (path, headers) => call("DELETE", path, optional(headers)),
    close: () => agent.close(),
  };
}

/** Of a stream, which does not end, what comes first. */
async function textOf({ headers, body }: Dispatcher.ResponseData): Promise<string> {
  if (!String(headers["content-type"]).startsWith("text/event-stream")) return body.text();
  for await (const piece of body) return String(piece);
  return "";
}

function isList(headers: NonNullable<CallOptions["headers"]>): headers is readonly string[] {
  return Array.isArray(headers);
}

function toAnswer(status: number, headers: ApiAnswer["headers"], text: string): ApiAnswer {
  const isProblem = headers["content-type"] === problemContentType;
  const shown = `${status} ${text.slice(0, 1_000)}`;
  return {
    status,
    headers,
    text,
    get json() {
      return JSON.parse(text) as unknown;
    },
    get task() {
      if (isProblem || status >= 300) throw new Error(`No task came, but ${shown}`);
      return JSON.parse(text) as TaskJson;
    },
    get problem() {
      if (!isProblem) throw new Error(`No problem came, but ${shown}`);
      return JSON.parse(text) as ProblemJson;
    },
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- See ApiAnswer.
    as: <T>() => {
      if (isProblem) throw new Error(`A problem came: ${shown}`);
      return JSON.parse(text) as T;
    },
  };
}

/** Null for a dispatcher alone, which serves no document. */
async function readPaths(agent: Agent, url: string): Promise<Paths | null> {
  const { statusCode, body } = await agent.request({ origin: url, path: "/openapi.json", method: "GET" });
  const text = await body.text();
  return statusCode === 200 ? (JSON.parse(text) as { paths: Paths }).paths : null;
}

/** Routes with fixed parts come before those with parameters. */
function findRoute(routes: readonly Route[], method: Method, path: string): Route | null {
  const [pathname = ""] = path.split("?");
  const fits = ({ path: template }: Route): boolean =>
    new RegExp(`^${template.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(pathname);
  return routes.find((route) => route.method.toUpperCase() === method && fits(route)) ?? null;
}

function conform(answer: ApiAnswer, route: Route | null, paths: Paths | null): void {
  const { status, headers, text } = answer;
  if (status >= 400) {
    const fault = problemFault(answer);
    if (fault !== null) throw new Error(`${status} ${text}: ${fault}`);
  }
  // A path or a method that no route takes is part of no operation.
  if (route === null || paths === null || status === 405) return;
  const name = `${route.method.toUpperCase()} ${route.path}`;
  const documented = paths[route.path]?.[route.method]?.responses[String(status)];
  if (documented === undefined)
    throw new Error(`${name} answered ${status}, which its document does not name: ${text}`);
  const problems = documented.content?.[problemContentType]?.examples;
  if (status >= 400) {
    const problem = answer.problem.type.replace("urn:lapse:problem:", "");
    if (problems === undefined || !(problem in problems))
      throw new Error(`${name} answered ${status} ${problem}, which its document does not name`);
    return;
  }
  const schema = route.doc.answers[status]?.schema;
  if (schema === undefined || headers["content-type"] !== "application/json") return;
  const read = schema.safeParse(JSON.parse(text));
  if (!read.success) throw new Error(`${name} answered what its schema refuses: ${read.error.message}\n${text}`);
}

/** RFC 9457, and nothing internal. */
function problemFault({ status, headers, text }: ApiAnswer): string | null {
  if (headers["content-type"] !== problemContentType) return `no ${problemContentType}`;
  const read = problemAnswerBody.safeParse(JSON.parse(text));
  if (!read.success) return read.error.message;
  if (read.data.status !== status) return "its status is not that of the answer";
  return /\b(select|insert|update)\b .*\b(from|into|set)\b|node_modules|\bat .*:\d+:\d+/i.test(text)
    ? "something internal leaks"
    : null;
}

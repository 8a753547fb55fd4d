// That nothing leads a call past the guard: no proxy of the environment, no hint in an answer, no connection that was kept; and that calls
// of every kind leave neither a socket nor a timer behind.

import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { startTrap, type Trap } from "../security/trap.ts";
import { until } from "../support/flow.ts";
import { closed, type RawServer, startRawServer, startSender } from "./sending.ts";

const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const opened: (() => unknown)[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
  for (const close of opened.splice(0).toReversed()) await close();
});

async function ownServer(serve: (socket: Socket) => void): Promise<RawServer> {
  const server = await startRawServer(serve);
  opened.push(server.close);
  return server;
}

async function ownTrap(): Promise<Trap> {
  const trap = await startTrap();
  opened.push(() => trap.close());
  return trap;
}

describe("a proxy that the environment names", () => {
  const proxied = (port: number): Record<string, string> => {
    const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
    return Object.fromEntries(names.map((name) => [name, `http://127.0.0.1:${port}`]));
  };

  test("is not used", async () => {
    const [proxy, server] = [await ownTrap(), await ownServer((socket) => socket.write(ok))];
    for (const [name, value] of Object.entries(proxied(proxy.port))) vi.stubEnv(name, value);
    const { sender, send } = startSender();
    expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
    sender.close();
    expect([server.connections.length, proxy.caught]).toEqual([1, 0]);
  });

  test("is not used either where Node is told to (NODE_USE_ENV_PROXY)", async () => {
    const [proxy, server] = [await ownTrap(), await ownServer((socket) => socket.write(ok))];
    const program = `
      import { startSender } from ${JSON.stringify(new URL("sending.ts", import.meta.url).href)};
      for (const targets of ["all", "none"]) {
        const { sender, send } = startSender(targets);
        console.log((await send({ url: ${JSON.stringify(server.url)} })).kind);
        sender.close();
      }`;
    const env = { ...process.env, ...proxied(proxy.port), NODE_USE_ENV_PROXY: "1", NO_PROXY: "", no_proxy: "" };
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { env });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += String(chunk);
    });
    await once(child, "close");
    expect(said.trim().split("\n")).toEqual(["answered", "blocked"]);
    expect([server.connections.length, proxy.caught]).toEqual([1, 0]);
  });
});

test("hints in an answer (Alt-Svc, Location, Refresh, Link, Content-Location) lead nowhere", async () => {
  const trap = await ownTrap();
  const to = `http://127.0.0.1:${trap.port}/`;
  const hints = [
    `alt-svc: h2="127.0.0.1:${trap.port}", h3=":${trap.port}"; ma=3600`,
    `location: ${to}`,
    `content-location: ${to}`,
    `refresh: 0;url=${to}`,
    `link: <${to}>; rel=preload`,
  ].join("\r\n");
  const server = await ownServer((socket) => socket.write(ok.replace("content-length", `${hints}\r\ncontent-length`)));
  const { sender, send } = startSender();
  for (let call = 0; call < 3; call++) expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
  sender.close();
  expect([server.connections.length, trap.caught]).toEqual([1, 0]);
  expect(trap.attempts()).toEqual([`127.0.0.1 ${server.port}`]);
});

describe("a connection that is kept", () => {
  test("is one to a peer that was judged: a name that points elsewhere by now does not move it", async () => {
    vi.useFakeTimers({ toFake: ["hrtime"] });
    const answers = [["127.0.0.1"], ["127.0.0.2"]];
    const server = await ownServer((socket) => socket.write(ok));
    const { sender, send } = startSender(["127.0.0.1"], { lookup: async () => answers.shift() ?? ["127.0.0.2"] });
    const url = `http://shop.test:${server.port}/`;
    expect(await send({ url })).toMatchObject({ kind: "answered" });
    vi.advanceTimersByTime(60_000);
    expect(await send({ url })).toMatchObject({ kind: "answered" });
    expect(server.connections.map((socket) => socket.localAddress)).toEqual(["127.0.0.1"]);
    expect(await send({ url, delivery: "at-most-once" })).toMatchObject({ kind: "blocked" });
    sender.close();
  });

  test("serves its own origin alone, also where another leads to the same address", async () => {
    const server = await ownServer((socket) => socket.write(ok));
    const { sender, send } = startSender("all", { lookup: async () => ["127.0.0.1"] });
    for (const host of ["one.test", "two.test", "127.0.0.1", "one.test"]) {
      expect(await send({ url: `http://${host}:${server.port}/` })).toMatchObject({ kind: "answered" });
    }
    expect(server.connections).toHaveLength(3);
    sender.close();
  });
});

test("calls of every kind leave no socket, no lookup and no timer behind", async () => {
  const kinds = new Set(["TCPSocketWrap", "TCPConnectWrap", "GetAddrInfoReqWrap", "TLSWrap", "Timeout"]);
  const active = (): string[] => process.getActiveResourcesInfo().filter((kind) => kinds.has(kind));
  const servers = {
    ok: await startRawServer((socket) => socket.write(ok)),
    mute: await startRawServer(() => undefined),
    resetting: await startRawServer((socket) => socket.resetAndDestroy()),
    garbage: await startRawServer((socket) => socket.write("garbage\r\n\r\n")),
  };
  const gone = await startRawServer(() => undefined);
  await gone.close();
  const { sender, send } = startSender("all");
  const guarded = startSender("none");
  const calls = Array.from({ length: 10 }, () => [
    send({ url: servers.ok.url }),
    send({ url: servers.ok.url, delivery: "at-most-once" }),
    send({ url: servers.ok.url }, { mayStart: () => false }),
    send({ url: servers.mute.url, timeoutMs: 200 }),
    send({ url: servers.mute.url.replace("http:", "https:"), timeoutMs: 200 }),
    send({ url: servers.resetting.url }),
    send({ url: servers.garbage.url }),
    send({ url: servers.ok.url.replace("http:", "https:") }),
    send({ url: gone.url }),
    guarded.send({ url: servers.ok.url }),
  ]).flat();
  const results = await Promise.all(calls);
  expect(new Set(results.map(({ kind }) => kind))).toEqual(
    new Set(["answered", "withheld", "timed-out", "refused", "reset", "blocked"]),
  );
  sender.close();
  guarded.sender.close();
  // The receivers hold on to theirs: those that are closed, the sender closed.
  for (const { connections } of Object.values(servers)) for (const socket of connections) await closed(socket);
  for (const server of Object.values(servers)) await server.close();
  expect(await until(active, (now) => now.length === 0)).toEqual([]);
});

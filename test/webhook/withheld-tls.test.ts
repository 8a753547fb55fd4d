// A send that is withheld over TLS gives its connection up from within TLS's own callback. That once ended the process (SIGSEGV): here it
// would end the worker of this file.

import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { certificate, certificateKey } from "./certificate.ts";
import { startSender } from "./sending.ts";

const sends = 20;
const defaultAuthorities = tls.getCACertificates("default");
let requests = 0;
const server = createServer({ cert: certificate, key: certificateKey }, (_request, response) => {
  requests += 1;
  response.end();
});

beforeAll(async () => {
  tls.setDefaultCACertificates([...defaultAuthorities, certificate]);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterAll(async () => {
  tls.setDefaultCACertificates(defaultAuthorities);
  await new Promise((resolve) => server.close(resolve));
});

test("sends that are withheld over TLS reach nobody, and the process lives on", async () => {
  const { sender, send } = startSender();
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const results = await Promise.all(Array.from({ length: sends }, () => send({ url }, { mayStart: () => false })));
  expect(results.map((result) => result.kind)).toEqual(Array.from({ length: sends }, () => "withheld"));
  expect(requests).toBe(0);
  expect(await send({ url })).toMatchObject({ kind: "answered", status: 200 });
  sender.close();
});

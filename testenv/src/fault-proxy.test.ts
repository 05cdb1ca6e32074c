import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Faults, startFaultProxy } from "./fault-proxy.ts";

/** Keeps what is put, lists the names in order of arrival, and says which host was asked for. */
const blobs = new Map<string, Buffer>();
const server = createServer((incoming, answer) => void serve(incoming, answer));
let target: string;

async function serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
  const path = new URL(incoming.url ?? "/", "http://x").pathname;
  if (incoming.method === "PUT") {
    blobs.set(path, await bodyOf(incoming));
    answer.end();
  } else if (incoming.url?.includes("list-type=2") === true) {
    answer.end([...blobs.keys()].join(" "));
  } else if (path === "/host") {
    answer.end(incoming.headers.host);
  } else {
    const body = blobs.get(path) ?? Buffer.alloc(0);
    answer.writeHead(blobs.has(path) ? 200 : 404, { "content-length": body.length }).end(body);
  }
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of incoming) {
    parts.push(part as Buffer); // no encoding is set
  }
  return Buffer.concat(parts);
}

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const DATA = Buffer.alloc(100_000, "varve ");

async function withProxy<T>(
  faults: Faults,
  work: (endpoint: string, proxy: Awaited<ReturnType<typeof startFaultProxy>>) => Promise<T>,
  options: { seed?: number; vendor?: "s3" | "azure" | "gcs" } = {},
): Promise<T> {
  await using proxy = await startFaultProxy({ target, faults, ...options });
  return await work(proxy.endpoint, proxy);
}

const put = (endpoint: string, path = "/b/x"): Promise<Response> =>
  fetch(endpoint + path, { method: "PUT", body: DATA });
const get = async (endpoint: string, path = "/b/x"): Promise<Buffer> =>
  Buffer.from(await (await fetch(endpoint + path)).arrayBuffer());

test("without faults everything passes, with the host that the client named", async () => {
  await withProxy({}, async (endpoint, { counts }) => {
    expect((await put(endpoint)).status).toBe(200);
    expect((await get(endpoint)).equals(DATA)).toBe(true);
    expect((await get(endpoint, "/host")).toString()).toBe(new URL(endpoint).host);
    expect(counts).toMatchObject({ requests: 3, sentBytes: DATA.length });
    expect(counts.receivedBytes).toBeGreaterThan(DATA.length);
    expect([...counts.byOperation]).toEqual([
      ["PUT", 1],
      ["GET", 2],
    ]);
  });
});

describe("a fault does what its name says:", () => {
  test("the service's own words", async () => {
    const rates = { "error-503": 1 };
    const faults = { rates, retryAfterSeconds: 7 };
    const answer = await withProxy(faults, async (endpoint) => {
      const { status, headers, ...rest } = await put(endpoint);
      return { status, wait: headers.get("retry-after"), rest };
    });
    expect(answer).toMatchObject({ status: 503, wait: "7" });
    const azure = await withProxy({ rates: { forbidden: 1 } }, (at) => put(at), {
      vendor: "azure",
    });
    expect(azure.headers.get("x-ms-error-code")).toBe("AuthorizationPermissionMismatch");
    const gcs = await withProxy(
      { rates: { "error-429": 1 } },
      async (endpoint) => (await put(endpoint)).text(),
      { vendor: "gcs" },
    );
    expect(JSON.parse(gcs)).toMatchObject({ error: { code: 429 } });
  });

  test("reset-request stores nothing, lost-answer stores all, both end the connection", async () => {
    await withProxy({ rates: { "reset-request": 1 } }, async (endpoint) => {
      await expect(put(endpoint, "/b/reset")).rejects.toThrow("fetch failed");
    });
    await withProxy({ rates: { "lost-answer": 1 } }, async (endpoint) => {
      await expect(put(endpoint, "/b/lost")).rejects.toThrow("fetch failed");
    });
    expect(blobs.has("/b/reset")).toBe(false);
    expect(blobs.get("/b/lost")?.equals(DATA)).toBe(true);
  });

  test("reset-response, truncate-response, corrupt-response, corrupt-request, drip", async () => {
    await put(target);
    await withProxy({ rates: { "reset-response": 1 } }, async (endpoint) => {
      await expect(get(endpoint)).rejects.toThrow();
    });
    const short = await withProxy({ rates: { "truncate-response": 1 } }, (at) => get(at));
    expect(short.length).toBeLessThan(DATA.length);
    const wrong = await withProxy({ rates: { "corrupt-response": 1 } }, (at) => get(at));
    expect({ length: wrong.length, same: wrong.equals(DATA) }).toEqual({
      length: DATA.length,
      same: false,
    });
    expect((await withProxy({ rates: { drip: 1 } }, (at) => get(at))).equals(DATA)).toBe(true);
    await withProxy({ rates: { "corrupt-request": 1 } }, (at) => put(at, "/b/flipped"));
    const flipped = blobs.get("/b/flipped");
    expect({ length: flipped?.length, same: flipped?.equals(DATA) }).toEqual({
      length: DATA.length,
      same: false,
    });
  });

  test("stale-list", async () => {
    await withProxy({}, async (endpoint, proxy) => {
      const list = async (): Promise<string> => (await get(endpoint, "/b?list-type=2")).toString();
      const before = await list();
      await put(endpoint, "/b/new");
      expect(await list()).toBe(`${before} /b/new`);
      proxy.setFaults({ rates: { "stale-list": 1 } });
      expect(await list()).toBe(before);
    });
  });

  test("a Date that is off", async () => {
    const answer = await withProxy({ latencyMs: 1, dateOffsetMs: -3_600_000 }, (at) => put(at));
    expect(Date.now() - Date.parse(answer.headers.get("date") ?? "")).toBeGreaterThan(3_500_000);
  });
});

test("the seed decides which requests are hurt, in whatever order they come", async () => {
  const paths = Array.from({ length: 40 }, (_, index) => `/b/${index}`);
  const hurt = (seed: number, order: readonly string[]): Promise<string[]> =>
    withProxy(
      { rates: { "error-500": 0.3 } },
      async (endpoint) => {
        const answers = order.map(async (path) => [(await put(endpoint, path)).status, path]);
        return (await Promise.all(answers)).flatMap(([s, p]) => (s === 500 ? [String(p)] : []));
      },
      { seed },
    );
  const first = await hurt(1, paths);
  expect(first.length).toBeGreaterThan(4);
  expect(first.length).toBeLessThan(20);
  expect((await hurt(1, paths.toReversed())).sort()).toEqual(first.sort());
  expect((await hurt(2, paths)).sort()).not.toEqual(first.sort());
});

import { createHash } from "node:crypto";
import { type BlobInfo, isVarveError, parseBlobId } from "@varve/core/blob";
import { describe, expect, test } from "vitest";
import { type GcsStoreOptions, openGcsStore } from "../src/index.ts";
import {
  type Answerer,
  type CannedGcs,
  isOpening,
  objectJson,
  sayJson,
  startCannedGcs,
} from "./canned-gcs.ts";

/** What is asked of Google, word for word: what fake-gcs-server does not look at is looked at here. */

const X = parseBlobId("x");
const ONE_TWO_THREE = Uint8Array.of(1, 2, 3);

async function openOn(
  answer: Answerer,
  options: Partial<GcsStoreOptions> = {},
): Promise<{ server: CannedGcs; store: Awaited<ReturnType<typeof openGcsStore>> }> {
  const server = await startCannedGcs((request, response) => {
    if (isOpening(request)) {
      sayJson(response, {});
    } else {
      answer(request, response);
    }
  });
  const store = await openGcsStore({
    bucket: "my bucket",
    prefix: "a/b",
    endpoint: server.endpoint,
    credentials: { kind: "anonymous" },
    ...options,
  });
  return { server, store };
}

test("opening is one list request for one entry, and changes nothing", async () => {
  const { server, store } = await openOn(() => {});
  await using _server = server;
  expect(server.requests).toHaveLength(1);
  expect(server.requests[0]).toMatchObject({
    method: "GET",
    path: "/storage/v1/b/my%20bucket/o",
    query: { prefix: "a/b", maxResults: "1" },
    body: "",
  });
  expect(store.label).toBe("gs://my bucket/a/b");
});

describe("put", () => {
  const putOn = (options?: Partial<GcsStoreOptions>): ReturnType<typeof openOn> =>
    openOn(({ body }, response) => {
      const [, json = ""] = /\r\n\r\n(\{.*\})\r\n/.exec(body) ?? [];
      sayJson(response, objectJson((JSON.parse(json) as { name: string }).name));
    }, options);

  test("is one multipart request with the hash of the bytes", async () => {
    const { server, store } = await putOn();
    await using _server = server;
    const info = await store.put(X, [Uint8Array.of(1, 2), Uint8Array.of(3)]);
    expect(info).toEqual({ id: X, size: 3, mtimeMs: Date.parse("2026-01-02T03:04:05.678Z") });
    const [, request] = server.requests;
    expect(request).toMatchObject({ method: "POST", path: "/upload/storage/v1/b/my%20bucket/o" });
    expect(Object.keys(request?.query ?? {})).toEqual(["uploadType", "fields"]);
    const boundary = /boundary=(\w{48})$/.exec(request?.headers["content-type"] ?? "")?.[1] ?? "";
    const md5Hash = createHash("md5").update(ONE_TWO_THREE).digest("base64");
    expect(request?.body).toBe(
      [
        `--${boundary}`,
        "content-type: application/json",
        "",
        JSON.stringify({ name: "a/bx", contentType: "application/x-kopia", md5Hash }),
        `--${boundary}`,
        "content-type: application/x-kopia",
        "",
        "\x01\x02\x03",
        `--${boundary}--`,
        "",
      ].join("\r\n"),
    );
    expect(server.requests).toHaveLength(2);
  });

  test("says absence, time, class, key and retention when asked to", async () => {
    const { server, store } = await putOn({
      kmsKeyName: "projects/p/key",
      storageClasses: [
        { prefix: "p", storageClass: "COLDLINE" },
        { prefix: "", storageClass: "NEARLINE" },
      ],
    });
    await using _server = server;
    await store.put(X, [ONE_TWO_THREE], {
      ifAbsent: true,
      mtimeMs: 1_700_000_000_123,
      retention: { mode: "governance", untilMs: Date.UTC(2030, 0, 1) + 999 },
    });
    await store.put(parseBlobId("p1"), [ONE_TWO_THREE]);
    const [, one, two] = server.requests;
    expect(one?.query).toMatchObject({ ifGenerationMatch: "0", kmsKeyName: "projects/p/key" });
    expect(one?.body).toContain('"storageClass":"NEARLINE"');
    expect(one?.body).toContain('"metadata":{"Kopia-Mtime":"1700000000123000000"}');
    expect(one?.body).toContain(
      '"retention":{"mode":"Locked","retainUntilTime":"2030-01-01T00:00:00.000Z"}',
    );
    expect(two?.body).toContain('"storageClass":"COLDLINE"');
  });

  test("of fewer bytes than were sent has failed, and may be tried again", async () => {
    const { server, store } = await putOn();
    await using _server = server;
    await expect(store.put(X, [ONE_TWO_THREE, ONE_TWO_THREE])).rejects.toMatchObject({
      code: "storage-failed",
      retryable: true,
    });
  });
});

describe("retention", () => {
  const locked = { mode: "Locked", retainUntilTime: "2030-01-01T00:00:00Z" };
  const lockedOn = (options?: Partial<GcsStoreOptions>): ReturnType<typeof openOn> =>
    openOn((_, response) => sayJson(response, objectJson("a/bx", { retention: locked })), options);

  test("is extended by a patch, and never shortened", async () => {
    const { server, store } = await lockedOn();
    await using _server = server;
    const until = (untilMs: number) => ({ mode: "locked", untilMs }) as const;
    await store.extendRetention(X, until(Date.UTC(2029, 0, 1)));
    await store.extendRetention(X, until(Date.UTC(2030, 0, 1) + 500));
    expect(server.requests.map(({ method }) => method)).toEqual(["GET", "GET", "GET"]);
    await store.extendRetention(X, until(Date.UTC(2031, 0, 1)));
    const patch = server.requests.at(-1);
    expect(patch).toMatchObject({ method: "PATCH", path: "/storage/v1/b/my%20bucket/o/a%2Fbx" });
    expect(JSON.parse(patch?.body ?? "")).toEqual({
      retention: { mode: "Locked", retainUntilTime: "2031-01-01T00:00:00.000Z" },
    });
  });

  test("is not offered without object lock, and sends nothing", async () => {
    const { server, store } = await lockedOn({ objectLock: false });
    await using _server = server;
    const retention = { mode: "locked", untilMs: Date.UTC(2031, 0, 1) } as const;
    expect(store.features.has("object-lock")).toBe(false);
    await expect(store.extendRetention(X, retention)).rejects.toMatchObject({
      code: "unsupported",
    });
    await expect(store.put(X, [], { retention })).rejects.toMatchObject({ code: "unsupported" });
    expect(server.requests).toHaveLength(1);
  });
});

test("a range asks for its bytes only, and a server that sends all is cut to them", async () => {
  const { server, store } = await openOn(({ headers }, response) => {
    if (headers.range === "bytes=1-2") {
      response.writeHead(206, { "content-range": "bytes 1-2/3" }).end("BC");
    } else {
      response.writeHead(200).end("ABC");
    }
  });
  await using _server = server;
  const get = async (offset: number, length: number): Promise<string> =>
    Buffer.from(await store.get(X, { range: { offset, length } })).toString();
  expect(await get(1, 2)).toBe("BC");
  expect(await get(0, 2)).toBe("AB");
  await expect(get(0, 4)).rejects.toMatchObject({ code: "range-invalid" });
  expect(server.requests[1]).toMatchObject({
    path: "/storage/v1/b/my%20bucket/o/a%2Fbx",
    query: { alt: "media" },
    headers: { "accept-encoding": "identity" },
  });
});

test("a list is asked for page by page, as it is read, and leaves out foreign names", async () => {
  const { server, store } = await openOn(({ query }, response) => {
    const page = Number(query["pageToken"] ?? 0);
    sayJson(response, {
      items: [objectJson(`a/bx${page}`), objectJson("a/bx/y"), objectJson("a/bx ")],
      nextPageToken: page < 2 ? String(page + 1) : undefined,
    });
  });
  await using _server = server;
  const seen: [string, number][] = [];
  for await (const { id } of store.list("x")) {
    seen.push([id, server.requests.length - 1]);
  }
  expect(seen).toEqual([
    ["x0", 1],
    ["x1", 2],
    ["x2", 3],
  ]);
  expect(server.requests[1]?.query).toEqual({
    prefix: "a/bx",
    maxResults: "1000",
    fields: "items(name,size,timeCreated,metadata),nextPageToken",
  });
});

test("a list that never ends is an error", async () => {
  const { server, store } = await openOn((_, response) =>
    sayJson(response, { items: [objectJson("a/bx")], nextPageToken: "again" }),
  );
  await using _server = server;
  const readAll = async (): Promise<void> => {
    for await (const { id } of store.list("")) {
      expect(id).toBe(X);
    }
  };
  await expect(readAll()).rejects.toMatchObject({ code: "storage-failed" });
});

test("a time that Kopia set is the time, and what is none is not", async () => {
  const times = ["1577934245000000000", "-1", "x", "", "99999999999999999999", 5, undefined];
  const { server, store } = await openOn((_, response) =>
    sayJson(response, {
      items: times.map((time, index) =>
        objectJson(`a/bx${index}`, { metadata: { "Kopia-Mtime": time, other: "7" } }),
      ),
    }),
  );
  await using _server = server;
  const infos: BlobInfo[] = [];
  for await (const info of store.list("")) {
    infos.push(info);
  }
  const created = Date.parse("2026-01-02T03:04:05.678Z");
  expect(infos.map(({ mtimeMs }) => mtimeMs)).toEqual([
    1_577_934_245_000,
    0,
    created,
    created,
    created,
    created,
    created,
  ]);
});

test("read-only sends no write", async () => {
  const { server, store } = await openOn(() => {}, { readOnly: true });
  await using _server = server;
  for (const call of [
    () => store.put(X, []),
    () => store.delete(X),
    () => store.extendRetention(X, { mode: "locked", untilMs: 1 }),
  ]) {
    await expect(call()).rejects.toSatisfy((error) => isVarveError(error, "read-only"));
  }
  expect(server.requests).toHaveLength(1);
});

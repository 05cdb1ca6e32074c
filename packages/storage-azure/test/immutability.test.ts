import { type BlobStore, isVarveError, parseBlobId } from "@varve/core/blob";
import { blobStoreCases } from "@varve/core/testing";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { afterAll, describe, expect, test } from "vitest";
import { type AzureStoreOptions, openAzureStore } from "../src/index.ts";
import { startVersionedAzurite } from "./versioned-azurite.ts";

/** Retention, tiers and the past: what is asked of the service, against a proxy that does what Azurite lacks. */

const azurite = await startAzurite();
await azurite.createContainer("locked");
await azurite.createContainer("plain");
const service = await startVersionedAzurite(azurite.endpoint, "locked");
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await azurite.stop();
});

function open(options: Partial<AzureStoreOptions> = {}): Promise<BlobStore> {
  return openAzureStore({
    container: "locked",
    endpoint: service.endpoint,
    credentials: { kind: "account-key", accountKey: azurite.key },
    ...options,
  });
}

/** Requests that `work` makes, as method and target. */
async function requestsOf(work: () => Promise<unknown>): Promise<string[]> {
  service.requests.length = 0;
  await work();
  return service.requests.map(({ method, target }) => `${method} ${target}`);
}

const FAR_MS = Date.UTC(2040, 0, 1, 12, 0, 0, 1);
const RETENTION = { mode: "compliance", untilMs: FAR_MS } as const;

describe("with object lock", () => {
  const cases = blobStoreCases({ open: () => open({ prefix: "cases/" }) });
  // The long list is asked of Azurite itself, in conformance.test.ts.
  for (const { name, run } of cases.filter((storeCase) => !/all of \d+/.test(storeCase.name))) {
    test(name, () => run());
  }
});

test("a put with retention asks for a locked policy, in whole seconds and not too early, and looks once whether it is there", async () => {
  await using store = await open();
  const id = parseBlobId("p-locked");
  expect(await requestsOf(() => store.put(id, [], { retention: RETENTION }))).toEqual([
    "PUT /p-locked",
    "HEAD /p-locked",
  ]);
  expect(service.requests[0]?.headers).toMatchObject({
    "x-ms-immutability-policy-until-date": "Sun, 01 Jan 2040 12:00:01 GMT",
    "x-ms-immutability-policy-mode": "Locked",
  });
  const again = parseBlobId("p-again");
  expect(await requestsOf(() => store.put(again, [], { retention: RETENTION }))).toEqual([
    "PUT /p-again",
  ]);
});

test("an extension asks for no less than what is there", async () => {
  await using store = await open();
  const id = parseBlobId("q-extended");
  await store.put(id, []);
  const extend = (untilMs: number) => (): Promise<void> =>
    store.extendRetention(id, { mode: "governance", untilMs });
  const look = "HEAD /q-extended";
  const set = "PUT /q-extended?comp=immutabilityPolicies";
  expect(await requestsOf(extend(FAR_MS))).toEqual([look, set]);
  expect(await requestsOf(extend(FAR_MS - 86_400_000))).toEqual([look]);
  expect(await requestsOf(extend(FAR_MS + 86_400_000))).toEqual([look, set]);
  expect(service.requests[1]?.headers).toMatchObject({
    "x-ms-immutability-policy-until-date": "Mon, 02 Jan 2040 12:00:01 GMT",
    "x-ms-immutability-policy-mode": "Locked",
  });
});

test("a delete of what is locked hides it behind a version that is deleted, and keeps the locked one", async () => {
  await using store = await open();
  const id = parseBlobId("x-hidden");
  await store.put(id, [Uint8Array.of(1)], { retention: RETENTION });
  const before = service.nowMs;
  const requests = await requestsOf(() => store.delete(id));
  expect(requests).toEqual([
    "DELETE /x-hidden",
    "PUT /x-hidden",
    "DELETE /x-hidden?comp=immutabilityPolicies",
    "DELETE /x-hidden",
    expect.stringMatching(/^DELETE \/x-hidden\?versionid=2030-01-01T/),
  ]);
  expect(service.requests[1]?.headers["x-ms-immutability-policy-mode"]).toBe("Unlocked");
  expect(service.versionsOf("x-hidden")).toMatchObject([{ isLocked: true }]);
  await store.delete(id); // there is nothing left to do
  const gone: unknown = await store.get(id).catch((error: unknown) => error);
  expect(isVarveError(gone, "blob-not-found")).toBe(true);

  await using past = await open({ pointInTimeMs: before });
  expect(await past.get(id)).toEqual(Uint8Array.of(1));
});

test("a service that leaves retention out is found out, and so is one that refuses it", async () => {
  await using store = await open({ container: "plain", endpoint: azurite.endpoint });
  const put = store.put(parseBlobId("p1"), [], { retention: RETENTION });
  await expect(put).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("no version-level immutability"),
  });
  const extend = store.extendRetention(parseBlobId("p1"), RETENTION);
  await expect(extend).rejects.toMatchObject({ code: "unsupported" });
});

test("the first rule that fits gives a new blob its access tier", async () => {
  const accessTiers = [
    { prefix: "p", tier: "Cool" },
    { prefix: "", tier: "Hot" },
  ] as const;
  await using store = await open({ accessTiers });
  await using plain = await open();
  service.requests.length = 0;
  for (const name of ["p1", "q1", "kopia.repository"]) {
    await store.put(parseBlobId(name), []);
  }
  await plain.put(parseBlobId("p2"), []);
  const tiers = service.requests.map(({ headers }) => headers["x-ms-access-tier"]);
  expect(tiers).toEqual(["Cool", "Hot", "Hot", undefined]);
});

describe("a point in time", () => {
  const id = parseBlobId("n1");

  test("shows of every blob the version of then", async () => {
    await using store = await open({ prefix: "past/" });
    const times: number[] = [];
    const mark = (): number => times.push(service.nowMs + 1);
    mark();
    await store.put(id, [Uint8Array.of(1)], { mtimeMs: 1_000_000 });
    mark();
    await store.put(id, [Uint8Array.of(2, 2)]);
    await store.put(parseBlobId("n1-longer"), [Uint8Array.of(9)]);
    mark();
    await store.delete(id);
    mark();
    await store.put(id, [Uint8Array.of(3, 3, 3)]);
    mark();
    const seen: string[] = [];
    for (const pointInTimeMs of times) {
      await using past = await open({ prefix: "past/", pointInTimeMs });
      const ids: string[] = [];
      for await (const info of past.list("")) {
        ids.push(`${info.id}:${info.size}`);
      }
      const bytes = await past.get(id).catch(() => []);
      seen.push(`${ids.join(" ")} [${bytes.join()}]`);
    }
    expect(seen).toEqual([
      " []",
      "n1:1 [1]",
      "n1:2 n1-longer:1 [2,2]",
      "n1-longer:1 []",
      "n1:3 n1-longer:1 [3,3,3]",
    ]);
  });

  test("reads ranges, tells times that were set, and takes no writes", async () => {
    await using store = await open({ prefix: "ranges/" });
    await store.put(id, [Uint8Array.of(1, 2, 3, 4)], { mtimeMs: 1_000_000 });
    const pointInTimeMs = service.nowMs;
    await store.put(id, []);
    await using past = await open({ prefix: "ranges/", pointInTimeMs });
    expect(await past.stat(id)).toEqual({ id, size: 4, mtimeMs: 1_000_000 });
    expect(await past.get(id, { range: { offset: 1, length: 2 } })).toEqual(Uint8Array.of(2, 3));
    expect(await past.get(id, { range: { offset: 4, length: 0 } })).toHaveLength(0);
    const outside = past.get(id, { range: { offset: 3, length: 2 } });
    await expect(outside).rejects.toMatchObject({ code: "range-invalid" });
    await expect(past.put(id, [])).rejects.toMatchObject({ code: "read-only" });
    await expect(past.delete(id)).rejects.toMatchObject({ code: "read-only" });
    expect(past.label).toBe(
      "azure://varvetest/locked/ranges/ at " + new Date(pointInTimeMs).toISOString(),
    );
  });
});

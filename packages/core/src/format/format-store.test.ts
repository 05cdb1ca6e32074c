import { describe, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobStore, parseBlobId, type Retention } from "../blob/store.ts";
import { type Crypto, openCrypto } from "../crypto/registry.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { BLOB_CONFIG, FORMAT_BLOB, type RepositoryFormat } from "./format.ts";
import { createFormat, withParameters, withPassword } from "./format-blob.ts";
import { readFormat, replaceFormat, writeNewFormat } from "./format-store.ts";

const real = await openCrypto();
/** The real thing with a key derivation that takes no time. */
const crypto: Crypto = {
  ...real,
  deriveKey: async (_name, password) => real.hmacSha256(utf8("quick"), utf8(password)),
};
const environment = seededEnvironment({ seed: 3 });
const deps = { crypto, environment };
const password = "old";
const retention = { mode: "governance", periodMs: 86_400_000 } as const;

async function storeWith(format: RepositoryFormat): Promise<BlobStore> {
  const store = createMemoryStore({ environment });
  await writeNewFormat(store, format, deps);
  return store;
}

test("a new format is read back", async () => {
  const format = await createFormat({ password }, deps);
  const store = createMemoryStore({ environment });
  const written = await writeNewFormat(store, format, deps);
  expect(written.rawFormatBlob).toEqual(await store.get(FORMAT_BLOB));
  const { stored: _stored, ...read } = await readFormat(store, { password, crypto });
  expect(read).toEqual(written);
});

test("an empty store is not a repository", async () => {
  const reading = readFormat(createMemoryStore({ environment }), { password, crypto });
  await expect(reading).rejects.toMatchObject({ code: "not-a-repository" });
});

test("a missing configuration means no retention", async () => {
  const store = await storeWith(await createFormat({ password }, deps));
  await store.delete(BLOB_CONFIG);
  expect((await readFormat(store, { password, crypto })).retention).toBeUndefined();
});

describe("a new format is not written", () => {
  test("over a repository", async () => {
    const format = await createFormat({ password }, deps);
    const store = await storeWith(format);
    await store.put(parseBlobId("a"), []);
    const before = await store.get(FORMAT_BLOB);
    await expect(writeNewFormat(store, format, deps)).rejects.toMatchObject({
      code: "repository-exists",
    });
    expect(await store.get(FORMAT_BLOB)).toEqual(before);
  });

  test("beside blobs of something else", async () => {
    const store = createMemoryStore({ environment });
    await store.put(parseBlobId("holiday.jpg"), []);
    const writing = writeNewFormat(store, await createFormat({ password }, deps), deps);
    await expect(writing).rejects.toMatchObject({
      code: "invalid-argument",
      message: expect.stringContaining("holiday.jpg"),
    });
    await expect(store.stat(BLOB_CONFIG)).rejects.toMatchObject({ code: "blob-not-found" });
  });

  test("over that of someone who is faster by a moment", async () => {
    const store = createMemoryStore({ environment });
    const formats = await Promise.all(
      ["one", "two", "three"].map((password) => createFormat({ password }, deps)),
    );
    const outcomes = await Promise.allSettled(
      formats.map((format) => writeNewFormat(store, format, deps)),
    );
    const winners = outcomes.filter(({ status }) => status === "fulfilled");
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes) {
      expect(outcome.status === "fulfilled" || outcome.reason).toEqual(
        outcome.status === "fulfilled" || expect.objectContaining({ code: "repository-exists" }),
      );
    }
    const index = outcomes.findIndex(({ status }) => status === "fulfilled");
    const opened = await readFormat(store, {
      password: ["one", "two", "three"][index] ?? "",
      crypto,
    });
    expect(opened.uniqueId).toEqual(formats[index]?.uniqueId);
  });
});

/** Every way in which a client can die at one of `count` writes. */
function deaths(count: number): { at: number; outcome: "lost" | "half-acknowledged" }[] {
  return Array.from({ length: count }, (_, index) => index + 1).flatMap((at) => [
    { at, outcome: "lost" } as const,
    { at, outcome: "half-acknowledged" } as const,
  ]);
}

function dying(store: BlobStore, death: ReturnType<typeof deaths>[number]): BlobStore {
  const { at, outcome } = death;
  const write = ({ number }: { number: number }) =>
    number === at ? { outcome, crash: true } : undefined;
  return faultyStore(store, { write });
}

test.each(deaths(2))(
  "a creation that dies at write $at, $outcome, can be done again",
  async (death) => {
    const store = createMemoryStore({ environment });
    const format = await createFormat({ password }, deps);
    await expect(writeNewFormat(dying(store, death), format, deps)).rejects.toMatchObject({
      code: "storage-failed",
    });
    const again = await writeNewFormat(store, await createFormat({ password }, deps), deps).catch(
      () => undefined, // the first one had come through to the end
    );
    const read = await readFormat(store, { password, crypto });
    expect(read.uniqueId).toEqual(again?.uniqueId ?? format.uniqueId);
  },
);

test.each(deaths(3))(
  "a change of password that dies at write $at, $outcome, leaves the old or the new one valid",
  async (death) => {
    const format = await createFormat({ password }, deps);
    const store = await storeWith(format);
    const changed = await withPassword(format, "new", crypto);
    await expect(replaceFormat(dying(store, death), changed, deps)).rejects.toMatchObject({
      code: "storage-failed",
    });
    const opened = await Promise.allSettled(
      [password, "new"].map((password) => readFormat(store, { password, crypto })),
    );
    expect(opened.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await replaceFormat(store, changed, deps);
    expect((await readFormat(store, { password: "new", crypto })).secret).toEqual(format.secret);
  },
);

test.each(deaths(2))(
  "a change of parameters that dies at write $at, $outcome, leaves the old or the new ones",
  async (death) => {
    const format = await createFormat({ password }, deps);
    const store = await storeWith(format);
    const changed = withParameters(format, { maxPackSizeBytes: 30 * 2 ** 20, retention });
    await expect(replaceFormat(dying(store, death), changed, deps)).rejects.toMatchObject({
      code: "storage-failed",
    });
    const { maxPackSize } = await readFormat(store, { password, crypto });
    expect([20 * 2 ** 20, 30 * 2 ** 20]).toContain(maxPackSize);
  },
);

test("a replaced format is read back, and its configuration was there first", async () => {
  const format = await createFormat({ password }, deps);
  const store = await storeWith(format);
  const order: string[] = [];
  const watched: BlobStore = {
    ...passThrough(store),
    put: async (id, parts, options) => {
      order.push(id);
      return await store.put(id, parts, options);
    },
  };
  const changed = withParameters(format, { retention, epochs: { fullCheckpointFrequency: 9 } });
  const written = await replaceFormat(watched, changed, deps);
  expect(order).toEqual([BLOB_CONFIG, FORMAT_BLOB]);
  const { stored: _stored, ...read } = await readFormat(store, { password, crypto });
  expect(read).toEqual(written);
});

test("with retention the format blobs are put under it", async () => {
  const store = createMemoryStore({ environment });
  const asked: Record<string, Retention | undefined> = {};
  const watched: BlobStore = {
    ...passThrough(store),
    put: async (id, parts, options) => {
      asked[id] = options?.retention;
      return await store.put(id, parts, options);
    },
  };
  await writeNewFormat(watched, await createFormat({ password, retention }, deps), deps);
  const expected = { mode: "governance", untilMs: environment.nowMs() + 86_400_000 };
  expect(asked).toEqual({ [BLOB_CONFIG]: expected, [FORMAT_BLOB]: expected });
});

test("an aborted signal writes nothing", async () => {
  const store = createMemoryStore({ environment });
  const reason = new Error("stop");
  const signal = AbortSignal.abort(reason);
  const writing = writeNewFormat(store, await createFormat({ password }, deps), {
    ...deps,
    signal,
  });
  await expect(writing).rejects.toBe(reason);
  await expect(store.stat(BLOB_CONFIG)).rejects.toMatchObject({ code: "blob-not-found" });
});

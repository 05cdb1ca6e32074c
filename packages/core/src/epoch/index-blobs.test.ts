import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/index.json" with { type: "json" };
import { fromHex, fromUtf8, toHex, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { encodeJson } from "../base/json.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { sealBlob } from "../format/sealed-blob.ts";
import { createSealer } from "../format/sealer.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { epochMarkerId } from "./epoch-names.ts";
import { createIndexBlobs } from "./index-blobs.ts";

const REFRESH_MS = 1_200_000;
const file = fromHex(vectors.indexFiles.version2.hex);
const crypto = await openCrypto();

function refs(ids: readonly string[]): { id: string; length: number; timestamp: string }[] {
  return ids.map((id) => ({ id, length: 1, timestamp: "" }));
}

function setUp(options: { enabled: boolean; wrap?: (store: BlobStore) => BlobStore }) {
  const environment = seededEnvironment({ seed: 1 });
  const memory = createMemoryStore({ environment });
  const store = options.wrap?.(memory) ?? memory;
  const sealer = createSealer(
    {
      hash: vectors.indexBlob.hash,
      encryption: "AES256-GCM-HMAC-SHA256",
      secret: fromHex(vectors.indexBlob.secretHex),
      masterKey: new Uint8Array(32).fill(2),
    },
    { crypto, randomBytes: (size) => environment.randomBytes(size) },
  );
  const epochs = {
    enabled: options.enabled,
    refreshFrequencyMs: REFRESH_MS,
    fullCheckpointFrequency: 7,
    cleanupSafetyMarginMs: 14_400_000,
    minEpochDurationMs: 86_400_000,
    advanceOnCountThreshold: 20,
    advanceOnTotalSizeBytesThreshold: 10_485_760,
    deleteParallelism: 4,
  };
  const indexBlobs = createIndexBlobs({ store, sealer, format: { epochs }, environment });
  return { environment, memory, store, sealer, indexBlobs };
}

async function idsIn(store: BlobStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list("")) {
    ids.push(id);
  }
  return ids.toSorted();
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return isVarveError(error) ? error.code : String(error);
  }
}

/** A store that runs `after` when a put of an index blob is done. */
function afterIndexPut(after: (id: BlobId, store: BlobStore) => Promise<void>) {
  return (store: BlobStore): BlobStore => ({
    ...passThrough(store),
    put: async (id, parts, options) => {
      const info = await store.put(id, parts, options);
      if (id.startsWith("xn")) {
        await after(id, store);
      }
      return info;
    },
  });
}

/** With the prefixes that were asked for. */
function setUpCounted(told: { listsInOrder?: boolean }): ReturnType<typeof setUp> & {
  prefixes: string[];
} {
  const prefixes: string[] = [];
  const wrap = (store: BlobStore): BlobStore => ({
    ...passThrough(store),
    ...told,
    list: (prefix, options) => {
      prefixes.push(prefix);
      return store.list(prefix, options);
    },
  });
  return { ...setUp({ enabled: true, wrap }), prefixes };
}

describe("by epochs", () => {
  const sessionId = "s0123456789abcdef147";

  test("the known answer: name and bytes of a written index", async () => {
    const { indexBlobs } = setUp({ enabled: true });
    const [put] = await indexBlobs.write([file], { sessionId });
    expect(put?.id).toBe(vectors.indexBlob.blobID);
    expect(await indexBlobs.live()).toMatchObject({
      blobs: [put],
      watermarkSeconds: 0,
      writeEpoch: 0,
    });
    expect(toHex(await indexBlobs.read(parseBlobId(vectors.indexBlob.blobID)))).toBe(toHex(file));
  });
  test("files of one flush are a set under the current epoch", async () => {
    const { indexBlobs, store } = setUp({ enabled: true });
    await store.put(epochMarkerId(3), [utf8("epoch-marker")]);
    await store.put(parseBlobId("xw1700000000"), [utf8("deletion-watermark")]);
    const put = await indexBlobs.write([file, utf8("other")], { sessionId });
    expect(put.map(({ id }) => /^xn3_[0-9a-f]{32}-s0123456789abcdef147-c2$/.test(id))).toEqual([
      true,
      true,
    ]);
    expect(await indexBlobs.live()).toMatchObject({
      blobs: put,
      watermarkSeconds: 1_700_000_000,
      writeEpoch: 3,
    });
    expect(await indexBlobs.write([], { sessionId })).toEqual([]);
  });
  test("a marker that is lost is put back before anything is written under its epoch", async () => {
    const { indexBlobs, store } = setUp({ enabled: true });
    const hash = "a".repeat(32);
    await store.put(parseBlobId(`xs1_${hash}-s0123456789abcdef-c1`), [utf8("?")]);
    const [put] = await indexBlobs.write([file], { sessionId });
    expect(put?.id).toMatch(/^xn3_/);
    expect(fromUtf8(await store.get(epochMarkerId(3)))).toBe("epoch-marker");
  });
  test("one epoch further after a quick write is safe", async () => {
    const { indexBlobs, memory } = setUp({
      enabled: true,
      wrap: afterIndexPut(async (_, store) => {
        await store.put(epochMarkerId(1), []);
      }),
    });
    const put = await indexBlobs.write([file], { sessionId });
    expect(put.map(({ id }) => id.slice(0, 4))).toEqual(["xn0_"]);
    expect(await idsIn(memory)).toEqual(["xe1", put[0]?.id]);
  });
  test("a slow write in an unchanged epoch is safe", async () => {
    const slow = setUp({
      enabled: true,
      wrap: afterIndexPut(async () => slow.environment.advance(REFRESH_MS + 1)),
    });
    const put = await slow.indexBlobs.write([file], { sessionId });
    expect(await idsIn(slow.memory)).toEqual([put[0]?.id]);
  });
  test("a slow write that an epoch passed by is taken back and made again", async () => {
    const slow = setUp({
      enabled: true,
      wrap: afterIndexPut(async (_, store) => {
        slow.environment.advance(REFRESH_MS + 1);
        await store.put(epochMarkerId(1), []);
      }),
    });
    const put = await slow.indexBlobs.write([file], { sessionId });
    expect(put.map(({ id }) => id.slice(0, 4))).toEqual(["xn1_"]);
    expect(await idsIn(slow.memory)).toEqual(["xe1", put[0]?.id]);
  });
  test("a write that two epochs passed by is taken back and fails", async () => {
    const { indexBlobs, memory } = setUp({
      enabled: true,
      wrap: afterIndexPut(async (_, store) => {
        await store.put(epochMarkerId(2), []);
      }),
    });
    expect(await codeOf(indexBlobs.write([file], { sessionId }))).toBe("storage-failed");
    expect(await idsIn(memory)).toEqual(["xe2"]);
  });
  test("two epochs in two attempts fail as well", async () => {
    let epoch = 0;
    const slow = setUp({
      enabled: true,
      wrap: afterIndexPut(async (_, store) => {
        slow.environment.advance(REFRESH_MS + 1);
        epoch += 1;
        await store.put(epochMarkerId(epoch), []);
      }),
    });
    expect(await codeOf(slow.indexBlobs.write([file], { sessionId }))).toBe("storage-failed");
    expect(await idsIn(slow.memory)).toEqual(["xe1", "xe2"]);
  });
  test("nothing is written after abort", async () => {
    const controller = new AbortController();
    const { indexBlobs, memory } = setUp({
      enabled: true,
      wrap: afterIndexPut(async () => controller.abort(new Error("enough"))),
    });
    const write = indexBlobs.write([file, utf8("other")], { sessionId, signal: controller.signal });
    expect(await codeOf(write)).toBe("Error: enough");
    expect((await idsIn(memory)).length).toBe(1);
  });
  test("a listing that took too long is made again, ten times at most", async () => {
    let slowListings = 3;
    const slow = setUp({
      enabled: true,
      wrap: (store) => ({
        ...passThrough(store),
        list: (prefix, options) => {
          if (prefix === "xn" && slowListings > 0) {
            slowListings -= 1;
            slow.environment.advance(REFRESH_MS + 1);
          }
          return store.list(prefix, options);
        },
      }),
    });
    const startMs = slow.environment.nowMs();
    expect((await slow.indexBlobs.live()).blobs).toEqual([]);
    expect(slow.environment.nowMs() - startMs).toBe(3 * (REFRESH_MS + 1) + 100 + 200 + 400);
    slowListings = 10;
    expect(await codeOf(slow.indexBlobs.live())).toBe("storage-failed");
    expect(slowListings).toBe(0);
  });
  test("inputs are listed before the compactions that replace them", async () => {
    const { indexBlobs, prefixes } = setUpCounted({});
    await indexBlobs.live();
    expect(prefixes).toEqual(["xn", "x"]);
  });
  test("one list that is in order does that by itself, one that only says so does not", async () => {
    const ordered = setUpCounted({ listsInOrder: true });
    const hash = "a".repeat(32);
    await ordered.store.put(parseBlobId(`xn0_${hash}-s0123456789abcdef147-c1`), []);
    await ordered.store.put(parseBlobId(`xs0_${hash}-s0123456789abcdef147-c1`), []);
    expect((await ordered.indexBlobs.live()).blobs).toHaveLength(1);
    expect(ordered.prefixes).toEqual(["x"]);

    const liar = setUpCounted({ listsInOrder: true });
    await liar.store.put(parseBlobId("xw1700000000"), []);
    await liar.store.put(parseBlobId(`xn0_${hash}-s0123456789abcdef147-c1`), []);
    expect((await liar.indexBlobs.live()).blobs).toHaveLength(1);
    expect(liar.prefixes).toEqual(["x", "x"]);
  });
  test("a write goes by a listing that is young, and looks afterwards all the same", async () => {
    const { indexBlobs, store, environment, prefixes } = setUpCounted({ listsInOrder: true });
    const { listing } = await indexBlobs.live();
    prefixes.length = 0;
    environment.advance(REFRESH_MS);
    await indexBlobs.write([file], { sessionId, listing });
    expect(prefixes).toEqual(["x"]);
    await store.put(epochMarkerId(2), []);
    expect(await codeOf(indexBlobs.write([utf8("b")], { sessionId, listing }))).toBe(
      "storage-failed",
    );
    environment.advance(1);
    const put = await indexBlobs.write([utf8("c")], { sessionId, listing });
    expect(put[0]?.id).toMatch(/^xn2_/);
  });
  test("a damaged blob is corrupt, a missing one blob-not-found", async () => {
    const { indexBlobs, store } = setUp({ enabled: true });
    const id = parseBlobId(vectors.indexBlob.blobID);
    expect(await codeOf(indexBlobs.read(id))).toBe("blob-not-found");
    await store.put(id, [new Uint8Array(300)]);
    expect(await codeOf(indexBlobs.read(id))).toBe("corrupt");
  });
});

describe("before epochs", () => {
  const poison =
    "n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version_upgrade_required";

  async function compaction(inputs: readonly string[], outputs: readonly string[]) {
    const repository = setUp({ enabled: false });
    const { store, sealer } = repository;
    for (const id of ["na", "nb", "nc", "nd", poison, "p1", "x1"]) {
      await store.put(parseBlobId(id), [utf8("?")]);
    }
    const plain = encodeJson({ inputMetadata: refs(inputs), outputMetadata: refs(outputs) });
    const log = sealBlob({ prefix: "m", plain, sealer });
    await store.put(log.id, [log.bytes]);
    return { ...repository, log };
  }

  async function activeAfter(inputs: readonly string[], outputs: readonly string[]) {
    const { indexBlobs } = await compaction(inputs, outputs);
    return (await indexBlobs.live()).blobs.map(({ id }) => id);
  }

  test("an index is named by hash and session and read back", async () => {
    const { indexBlobs } = setUp({ enabled: false });
    const put = await indexBlobs.write([file], { sessionId: "s01" });
    expect(put.map(({ id }) => id)).toEqual(["nccf0b114df934c3fea3477037b347914-s01"]);
    expect(await indexBlobs.live()).toMatchObject({
      blobs: put,
      watermarkSeconds: 0,
      writeEpoch: 0,
    });
    expect(toHex(await indexBlobs.read(parseBlobId(put[0]?.id ?? "")))).toBe(toHex(file));
  });
  test("all n blobs are live but the poison and what a compaction replaced", async () => {
    expect(await activeAfter(["na", "nb", "gone"], ["nc"])).toEqual(["nc", "nd"]);
    expect(await activeAfter([], [])).toEqual(["na", "nb", "nc", "nd"]);
  });
  test("a compaction counts only when all of its outputs are there", async () => {
    expect(await activeAfter(["na", "nb"], ["nc", "ne"])).toEqual(["na", "nb", "nc", "nd"]);
  });
  test("an output is never taken for replaced by its own compaction", async () => {
    expect(await activeAfter(["na", "nc"], ["nc"])).toEqual(["nb", "nc", "nd"]);
  });
  test("a log that cannot be opened is named, and replaces nothing", async () => {
    const { indexBlobs, store, log } = await compaction(["na"], ["nb"]);
    await store.put(log.id, [log.bytes.subarray(1)]);
    const { blobs, damaged } = await indexBlobs.live();
    expect(blobs.map(({ id }) => id).sort()).toEqual(["na", "nb", "nc", "nd"]);
    expect(damaged).toMatchObject([{ id: log.id, error: { code: "corrupt" } }]);
  });
  test("a log that is gone when it is read is passed over", async () => {
    const { memory } = setUp({ enabled: false });
    expect(await idsIn(memory)).toEqual([]);
    const racing = setUp({
      enabled: false,
      wrap: (store) => ({
        ...passThrough(store),
        list: (prefix, options) =>
          prefix === "m" ? vanishing(store, prefix, options) : store.list(prefix, options),
      }),
    });
    await racing.memory.put(parseBlobId("na"), []);
    await racing.memory.put(parseBlobId("m00"), []);
    expect((await racing.indexBlobs.live()).blobs.map(({ id }) => id)).toEqual(["na"]);
  });
});

/** Lists blobs and deletes each before anybody can read it. */
async function* vanishing(
  store: BlobStore,
  ...list: Parameters<BlobStore["list"]>
): ReturnType<BlobStore["list"]> {
  for await (const info of store.list(...list)) {
    await store.delete(info.id);
    yield info;
  }
}

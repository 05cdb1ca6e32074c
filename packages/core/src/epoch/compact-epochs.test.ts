import { describe, expect, test } from "vitest";
import { isVarveError } from "../base/errors.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createSealer } from "../format/sealer.ts";
import { createContentIndex } from "../index/content-index.ts";
import { parseContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { encodeIndex } from "../index/index-writer.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { advanceEpoch, compactRange, compactSingleEpoch } from "./compact-epochs.ts";
import { createIndexBlobs } from "./index-blobs.ts";
import { loadContentIndex } from "./load-index.ts";

const DAY_MS = 86_400_000;
const crypto = await openCrypto();

function setUp() {
  const environment = seededEnvironment({ seed: 1 });
  const store = createMemoryStore({ environment });
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const sealer = createSealer(
    {
      hash: "BLAKE2B-256-128",
      encryption: "AES256-GCM-HMAC-SHA256",
      secret: new Uint8Array(32).fill(1),
      masterKey: new Uint8Array(32).fill(2),
    },
    { crypto, randomBytes },
  );
  const epochs = {
    enabled: true,
    refreshFrequencyMs: 1_200_000,
    fullCheckpointFrequency: 3,
    cleanupSafetyMarginMs: 14_400_000,
    minEpochDurationMs: DAY_MS,
    advanceOnCountThreshold: 10,
    advanceOnTotalSizeBytesThreshold: 1_048_576,
    deleteParallelism: 4,
  };
  const options = { store, sealer, format: { epochs, indexVersion: 2 }, environment };
  return { ...options, options, indexBlobs: createIndexBlobs(options) };
}

function infoOf(number: number, changes: Partial<ContentInfo> = {}): ContentInfo {
  return {
    id: parseContentId(number.toString(16).padStart(8, "0")),
    packBlobId: parseBlobId("p1"),
    packOffset: 0,
    packedLength: 128,
    originalLength: 100,
    timestampSeconds: 1000,
    deleted: false,
    formatVersion: 3,
    compressionHeaderId: 0,
    ...changes,
  };
}

async function idsIn(store: BlobStore, prefix: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list(prefix)) {
    ids.push(id);
  }
  return ids;
}

type Repository = ReturnType<typeof setUp>;

async function write({ indexBlobs }: Repository, entries: readonly ContentInfo[]): Promise<void> {
  await indexBlobs.write([encodeIndex(entries, { version: 2 })], { sessionId: "s01" });
}

async function entriesOf({ indexBlobs, environment }: Repository): Promise<ContentInfo[]> {
  const into = createContentIndex();
  await loadContentIndex(indexBlobs, { into, environment });
  return [...into.entries({ deleted: true })].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

async function startEpoch({ store }: Repository, epoch: number): Promise<void> {
  await store.put(parseBlobId(`xe${epoch}`), []);
}

describe("advance", () => {
  test("takes both many blobs and a day between the first and the last", async () => {
    const repository = setUp();
    const { options, environment, store } = repository;
    for (let number = 0; number < 9; number++) {
      await write(repository, [infoOf(number)]);
    }
    environment.advance(DAY_MS);
    expect(await advanceEpoch(options)).toBeUndefined();
    await write(repository, [infoOf(9)]);
    expect(await advanceEpoch(options)).toBe(1);
    expect(await idsIn(store, "xe")).toEqual(["xe1"]);
    expect(new TextDecoder().decode(await store.get(parseBlobId("xe1")))).toBe("epoch-marker");
    expect(await advanceEpoch(options)).toBeUndefined();
  });
  test("ten blobs of one hour are not enough, two large ones of two days are", async () => {
    const repository = setUp();
    const { options, environment, store } = repository;
    for (let number = 0; number < 10; number++) {
      await write(repository, [infoOf(number)]);
    }
    environment.advance(3_600_000);
    await write(repository, [infoOf(10)]);
    expect(await advanceEpoch(options)).toBeUndefined();
    await startEpoch(repository, 1);
    await store.put(parseBlobId("xn1_a"), [new Uint8Array(1_000_000)]);
    environment.advance(2 * DAY_MS);
    await store.put(parseBlobId("xn1_b"), [new Uint8Array(48_576)]);
    expect(await advanceEpoch(options)).toBe(2);
  });
});

describe("compaction of one epoch", () => {
  test("takes the oldest settled one and leaves readers what they had, inputs deleted or not", async () => {
    const repository = setUp();
    const { options, store } = repository;
    await write(repository, [infoOf(1), infoOf(2)]);
    await write(repository, [infoOf(1, { deleted: true, timestampSeconds: 1001 })]);
    await startEpoch(repository, 1);
    await write(repository, [infoOf(3)]);
    expect(await compactSingleEpoch(options)).toBeUndefined();
    await startEpoch(repository, 2);
    const before = await entriesOf(repository);
    expect(before.map(({ id, deleted }) => [id, deleted])).toEqual([
      ["00000001", true],
      ["00000002", false],
      ["00000003", false],
    ]);

    const done = await compactSingleEpoch(options);
    expect([done?.first, done?.last, done?.inputs.length]).toEqual([0, 0, 2]);
    expect(done?.outputs.map(({ id }) => /^xs0_[0-9a-f]{32}-s[0-9a-f]{16}-c1$/.test(id))).toEqual([
      true,
    ]);
    expect(await entriesOf(repository)).toEqual(before);
    for (const { id } of done?.inputs ?? []) {
      await store.delete(id);
    }
    expect(await entriesOf(repository)).toEqual(before);
    expect(await compactSingleEpoch(options)).toBeUndefined();
  });
  test("copies what the watermark hides", async () => {
    const repository = setUp();
    await write(repository, [infoOf(1, { deleted: true })]);
    await repository.store.put(parseBlobId("xw1000"), []);
    await startEpoch(repository, 2);
    expect(await entriesOf(repository)).toEqual([]);
    await compactSingleEpoch(repository.options);
    await repository.store.delete(parseBlobId("xw1000"));
    expect((await entriesOf(repository)).length).toBe(1);
  });
  test("fails and writes nothing when an input cannot be read", async () => {
    const repository = setUp();
    await write(repository, [infoOf(1)]);
    await repository.store.put(parseBlobId(`xn0_${"0".repeat(32)}-s01-c1`), [new Uint8Array(99)]);
    await startEpoch(repository, 2);
    await expect(compactSingleEpoch(repository.options)).rejects.toSatisfy((error) =>
      isVarveError(error, "corrupt"),
    );
    expect(await idsIn(repository.store, "xs")).toEqual([]);
  });
});

test("twenty epochs with every compaction that is due keep every entry", async () => {
  const repository = setUp();
  const { options, store } = repository;
  const expected: ContentInfo[] = [];
  const ranges: string[] = [];
  for (let epoch = 0; epoch < 20; epoch++) {
    if (epoch > 0) {
      await startEpoch(repository, epoch);
    }
    const entries = [infoOf(epoch * 2), infoOf(epoch * 2 + 1, { deleted: true })];
    expected.push(...entries);
    await write(repository, entries);
    const single = await compactSingleEpoch(options);
    for (const { id } of single?.inputs ?? []) {
      await store.delete(id);
    }
    const range = await compactRange(options);
    if (range !== undefined) {
      ranges.push(`${range.first}-${range.last}`);
    }
    expect(await entriesOf(repository)).toEqual(expected);
  }
  expect(ranges).toEqual(["0-3", "4-7", "8-11", "12-15"]);
  expect((await repository.indexBlobs.live()).blobs.length).toBe(4 + 2 + 2);
});

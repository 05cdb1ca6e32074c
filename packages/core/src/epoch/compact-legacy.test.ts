import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createSealer } from "../format/sealer.ts";
import { createContentIndex } from "../index/content-index.ts";
import { parseContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { encodeIndex } from "../index/index-writer.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { cleanUpLegacyIndexes, compactLegacyIndexes } from "./compact-legacy.ts";
import type { CompactOptions } from "./compact-epochs.ts";
import { createIndexBlobs } from "./index-blobs.ts";
import { loadContentIndex } from "./load-index.ts";

const HOUR_MS = 3_600_000;
const maxPackSize = 20_000_000;
const crypto = await openCrypto();

async function setUp() {
  const environment = seededEnvironment({ seed: 1 });
  const memory = createMemoryStore({ environment });
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const keys = { secret: new Uint8Array(32).fill(1), masterKey: new Uint8Array(32).fill(2) };
  const algorithms = { hash: "BLAKE2B-256-128", encryption: "AES256-GCM-HMAC-SHA256" };
  const sealer = createSealer({ ...algorithms, ...keys }, { crypto, randomBytes });
  const epochs = {
    enabled: false,
    refreshFrequencyMs: 0,
    fullCheckpointFrequency: 0,
    cleanupSafetyMarginMs: 0,
    minEpochDurationMs: 0,
    advanceOnCountThreshold: 0,
    advanceOnTotalSizeBytesThreshold: 0,
    deleteParallelism: 0,
  };
  const optionsFor = (store: BlobStore): CompactOptions => ({
    store,
    sealer,
    format: { epochs, indexVersion: 1 },
    environment,
  });
  const options = optionsFor(memory);
  const indexBlobs = createIndexBlobs(options);
  const sessionId = "s0123456789abcdef147";
  for (let number = 0; number < 9; number++) {
    const live = infoOf(number);
    const deleted = { ...infoOf(100 + number), deleted: true, timestampSeconds: 1000 + number };
    const older = { ...deleted, deleted: false, timestampSeconds: 10 };
    await indexBlobs.write([encodeIndex([live, deleted], { version: 1 })], { sessionId });
    await indexBlobs.write([encodeIndex([older], { version: 1 })], { sessionId });
    environment.advance(1000);
  }
  return { environment, memory, options, optionsFor };
}

function infoOf(number: number): ContentInfo {
  return {
    id: parseContentId(number.toString(16).padStart(8, "0")),
    packBlobId: parseBlobId("p1"),
    packOffset: 0,
    packedLength: 128,
    originalLength: 100,
    timestampSeconds: 1000,
    deleted: false,
    formatVersion: 1,
    compressionHeaderId: 0,
  };
}

async function entriesOf(options: CompactOptions): Promise<string[]> {
  const into = createContentIndex();
  await loadContentIndex(createIndexBlobs(options), { into, environment: options.environment });
  return Array.from(
    into.entries({ deleted: true }),
    ({ id, deleted }) => `${id}${deleted ? "-" : "+"}`,
  ).toSorted();
}

async function idsIn(store: BlobStore, prefix: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list(prefix)) {
    ids.push(id);
  }
  return ids;
}

test("small index blobs become one that says the same, and go when everybody has seen it", async () => {
  const { environment, memory, options } = await setUp();
  const before = await entriesOf(options);
  const done = await compactLegacyIndexes(options, { maxPackSize });
  expect([done?.inputs.length, done?.outputs.length]).toEqual([18, 1]);
  expect(await entriesOf(options)).toEqual(before);
  const cleanUp = () =>
    cleanUpLegacyIndexes(options, { nowMs: environment.nowMs(), settleMs: HOUR_MS });
  expect((await cleanUp()).deleted).toHaveLength(0);
  environment.advance(HOUR_MS);
  expect((await cleanUp()).deleted).toHaveLength(18);
  expect(await idsIn(memory, "n")).toEqual(done?.outputs.map(({ id }) => id));
  expect((await idsIn(memory, "m")).length + (await idsIn(memory, "l")).length).toBe(2);
  expect(await entriesOf(options)).toEqual(before);
  environment.advance(HOUR_MS);
  await cleanUp();
  expect([...(await idsIn(memory, "m")), ...(await idsIn(memory, "l"))]).toEqual([]);
  expect(await entriesOf(options)).toEqual(before);
  expect(await compactLegacyIndexes(options, { maxPackSize })).toBeUndefined();
});

test("what was deleted before the cut-off is gone with its older entry, the rest stays", async () => {
  const { options } = await setUp();
  const before = await entriesOf(options);
  const done = await compactLegacyIndexes(options, { maxPackSize, dropBeforeSeconds: 1004 });
  expect(done?.dropped).toBe(4);
  const gone = ["00000064-", "00000065-", "00000066-", "00000067-"];
  expect(await entriesOf(options)).toEqual(before.filter((entry) => !gone.includes(entry)));
  const again = await compactLegacyIndexes(options, { maxPackSize, dropBeforeSeconds: 1004 });
  expect(again).toBeUndefined();
});

test("killed at any write, readers see the same, and the next run ends it", async () => {
  const before = await entriesOf((await setUp()).options);
  let writes = Number.POSITIVE_INFINITY;
  for (let dies = 1; dies <= writes; dies++) {
    const { environment, memory, options, optionsFor } = await setUp();
    const run = async (store: BlobStore): Promise<void> => {
      await compactLegacyIndexes(optionsFor(store), { maxPackSize });
      for (let hour = 0; hour < 2; hour++) {
        environment.advance(HOUR_MS);
        const nowMs = environment.nowMs();
        await cleanUpLegacyIndexes(optionsFor(store), { nowMs, settleMs: HOUR_MS });
      }
    };
    const faulty = faultyStore(memory, {
      write: ({ number }) =>
        number === dies ? { outcome: "half-acknowledged", crash: true } : undefined,
    });
    const crashed = await run(faulty).then(
      () => false,
      () => true,
    );
    if (!crashed) {
      writes = faulty.writes;
    }
    expect(await entriesOf(options)).toEqual(before);
    await run(memory);
    await run(memory);
    expect(await entriesOf(options)).toEqual(before);
    expect((await idsIn(memory, "n")).length).toBeLessThanOrEqual(2);
  }
});

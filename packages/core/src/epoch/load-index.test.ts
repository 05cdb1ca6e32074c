import { describe, expect, test } from "vitest";
import { isVarveError, VarveError } from "../base/errors.ts";
import { type BlobId, parseBlobId } from "../blob/store.ts";
import { type ContentIndex, createContentIndex } from "../index/content-index.ts";
import { parseContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { encodeIndex } from "../index/index-writer.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import type { IndexBlobs } from "./index-blobs.ts";
import { loadContentIndex } from "./load-index.ts";

function infoOf(id: string, changes: Partial<ContentInfo> = {}): ContentInfo {
  return {
    id: parseContentId(id),
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

/** Index blobs that a test holds in its hands. */
function heldBlobs(
  files: Record<string, Uint8Array>,
  options: { watermarkSeconds?: number; spare?: Record<string, Uint8Array> } = {},
) {
  const blobsOf = (files: Record<string, Uint8Array>) =>
    new Map(Object.entries(files).map(([id, bytes]) => [parseBlobId(id), bytes]));
  const held = blobsOf(files);
  const spare = blobsOf(options.spare ?? {});
  const reads: BlobId[] = [];
  let reading = 0;
  let mostReading = 0;
  const indexBlobs: IndexBlobs = {
    live: async () => ({
      blobs: Array.from(held, ([id, bytes]) => ({ id, size: bytes.length, mtimeMs: 0 })),
      spare: Array.from(spare, ([id, bytes]) => ({ id, size: bytes.length, mtimeMs: 0 })),
      watermarkSeconds: options.watermarkSeconds ?? 0,
      writeEpoch: 0,
      damaged: [],
    }),
    read: async (id) => {
      reads.push(id);
      reading += 1;
      mostReading = Math.max(mostReading, reading);
      for (let turn = 0; turn < 100; turn++) {
        await Promise.resolve();
      }
      reading -= 1;
      const bytes = held.get(id) ?? spare.get(id);
      if (bytes === undefined || bytes.length === 0) {
        held.delete(id);
        throw new VarveError("blob-not-found", `no ${id}`);
      }
      return bytes;
    },
    write: () => Promise.reject(new Error("not written here")),
  };
  return { indexBlobs, held, reads, mostReading: () => mostReading };
}

const fileOf = (...entries: ContentInfo[]) => encodeIndex(entries, { version: 2 });

async function load(
  indexBlobs: IndexBlobs,
  options: { into?: ContentIndex; known?: ReadonlySet<BlobId>; signal?: AbortSignal } = {},
) {
  const environment = seededEnvironment({ seed: 1, startMs: 0 });
  const into = options.into ?? createContentIndex();
  const { loaded, damaged } = await loadContentIndex(indexBlobs, { ...options, into, environment });
  return { loaded, damaged, into, sleptMs: environment.nowMs() };
}

describe("loading", () => {
  test("merges every live blob and hides what lies under the watermark", async () => {
    const { indexBlobs } = heldBlobs(
      {
        xn0_a: fileOf(infoOf("00"), infoOf("01", { deleted: true })),
        xn0_b: fileOf(infoOf("00", { deleted: true, timestampSeconds: 1001 })),
      },
      { watermarkSeconds: 1000 },
    );
    const { loaded, into } = await load(indexBlobs);
    expect(loaded.toSorted()).toEqual(["xn0_a", "xn0_b"]);
    expect([...into.entries({ deleted: true })]).toEqual([
      infoOf("00", { deleted: true, timestampSeconds: 1001 }),
    ]);
  });
  test("leaves out what is known", async () => {
    const { indexBlobs, reads } = heldBlobs({ a: fileOf(infoOf("00")), b: fileOf(infoOf("01")) });
    const { loaded, into } = await load(indexBlobs, { known: new Set([parseBlobId("a")]) });
    expect([loaded, reads, into.count]).toEqual([["b"], ["b"], 1]);
  });
  test("reads at most eight at a time", async () => {
    const files = Array.from({ length: 30 }, (_, number) => {
      const hex = number.toString(16).padStart(2, "0");
      return [`n${hex}`, fileOf(infoOf(hex))] as const;
    });
    const { indexBlobs, mostReading } = heldBlobs(Object.fromEntries(files));
    expect((await load(indexBlobs)).into.count).toBe(30);
    expect(mostReading()).toBe(8);
  });
  test("starts again when a blob vanished, without reading the others twice", async () => {
    const { indexBlobs, reads } = heldBlobs({
      a: fileOf(infoOf("00")),
      gone: new Uint8Array(0),
      b: fileOf(infoOf("01")),
    });
    const { loaded, into, sleptMs } = await load(indexBlobs);
    expect(loaded.toSorted()).toEqual(["a", "b"]);
    expect(reads.toSorted()).toEqual(["a", "b", "gone"]);
    expect([into.count, sleptMs]).toEqual([2, 100]);
  });
  test("gives up after ten attempts", async () => {
    const { indexBlobs } = heldBlobs({});
    let attempts = 0;
    const haunted: IndexBlobs = {
      ...indexBlobs,
      live: async () => {
        attempts += 1;
        const blobs = [{ id: parseBlobId("ghost"), size: 1, mtimeMs: 0 }];
        return { blobs, spare: [], watermarkSeconds: 0, writeEpoch: 0, damaged: [] };
      },
    };
    await expect(load(haunted)).rejects.toSatisfy((error) => isVarveError(error, "blob-not-found"));
    expect(attempts).toBe(10);
  });
  test("names the blob whose file is corrupt, and takes the others", async () => {
    const good = fileOf(infoOf("00"));
    const { indexBlobs } = heldBlobs({ bad: new Uint8Array([2, 0, 0]), good });
    const { loaded, damaged, into } = await load(indexBlobs);
    expect(damaged).toMatchObject([
      {
        id: "bad",
        error: { code: "corrupt", message: expect.stringMatching(/^index blob bad: /) },
      },
    ]);
    expect([loaded, into.count]).toEqual([["good"], 1]);
  });
  test("takes what a damaged blob has replaced, and only then", async () => {
    const spare = { old: fileOf(infoOf("01")), worse: new Uint8Array([2]) };
    const good = fileOf(infoOf("00"));
    expect((await load(heldBlobs({ good }, { spare }).indexBlobs)).loaded).toEqual(["good"]);
    const { indexBlobs } = heldBlobs({ bad: new Uint8Array([2, 0, 0]), good }, { spare });
    const { loaded, damaged } = await load(indexBlobs);
    expect(loaded.toSorted()).toEqual(["good", "old"]);
    expect(damaged.map(({ id }) => id)).toEqual(["bad"]);
  });
  test("stops when aborted, with the signal's reason", async () => {
    const { indexBlobs, reads } = heldBlobs({ a: fileOf(infoOf("00")) });
    const reason = new Error("enough");
    await expect(load(indexBlobs, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(reads).toEqual([]);
  });
});

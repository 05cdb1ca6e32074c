import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { parseContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { PackCache } from "./pack-cache.ts";

const SIZE = 100;

function infoAt(pack: string, packOffset: number): ContentInfo {
  return {
    id: parseContentId("k00"),
    packBlobId: parseBlobId(pack),
    packOffset,
    packedLength: 10,
    originalLength: 10,
    compressionHeaderId: 0,
    timestampSeconds: 0,
    deleted: false,
    formatVersion: 2,
  };
}

async function packs(...names: readonly string[]): Promise<{ store: BlobStore; gets: string[] }> {
  const memory = createMemoryStore();
  for (const name of names) {
    const bytes = Uint8Array.from({ length: SIZE }, (_, index) => index);
    await memory.put(parseBlobId(name), [bytes]);
  }
  const gets: string[] = [];
  const get: BlobStore["get"] = (id, options) => {
    gets.push(id);
    return memory.get(id, options);
  };
  return { store: { ...passThrough(memory), get }, gets };
}

test("the fourth content of a pack brings the pack, once for all who want it at once", async () => {
  const { store, gets } = await packs("q1");
  const cache = new PackCache(store, 1000);
  const offsets = Array.from({ length: 10 }, (_, index) => index * 10);
  const found = await Promise.all(offsets.map((at) => cache.get(infoAt("q1", at), {})));
  expect(found.slice(0, 3)).toEqual([undefined, undefined, undefined]);
  expect(found.slice(3).map((bytes) => bytes?.[0])).toEqual(offsets.slice(3));
  expect(gets).toEqual(["q1"]);
});

test("what lies beyond the pack, or in one that is missing, is asked for alone", async () => {
  const { store } = await packs("q1");
  const cache = new PackCache(store, 1000);
  for (let count = 0; count < 5; count++) {
    expect(await cache.get(infoAt("q1", SIZE - 5), {})).toBeUndefined();
    expect(await cache.get(infoAt("q2", 0), {})).toBeUndefined();
  }
});

test("what does not fit is dropped, the one used longest ago first", async () => {
  const { store, gets } = await packs("q1", "q2", "q3");
  const cache = new PackCache(store, 2 * SIZE);
  const use = async (pack: string): Promise<void> => {
    for (let count = 0; count < 4; count++) {
      await cache.get(infoAt(pack, 0), {});
    }
  };
  await use("q1");
  await use("q2");
  await use("q1");
  await use("q3"); // in place of q2
  await use("q1");
  expect(gets).toEqual(["q1", "q2", "q3"]);
  await use("q2");
  expect(gets).toEqual(["q1", "q2", "q3", "q2"]);
});

test("a pack that is longer than all that may be held is brought once at most", async () => {
  const { store, gets } = await packs("q1", "q2");
  const cache = new PackCache(store, SIZE / 2);
  for (let count = 0; count < 20; count++) {
    await cache.get(infoAt("q1", 0), {});
    await cache.get(infoAt("q2", SIZE / 2), {}); // lies where it could not fit
  }
  expect(gets).toEqual(["q1"]);
});

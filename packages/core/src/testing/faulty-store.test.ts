import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { parseBlobId } from "../blob/store.ts";
import { faultyStore, type WriteFault } from "./faulty-store.ts";
import { seededEnvironment } from "./seeded-environment.ts";

const environment = seededEnvironment({ seed: 1 });
const A = parseBlobId("a");
const B = parseBlobId("b");
const BYTES = Uint8Array.of(1, 2, 3, 4);

function failingAt(number: number, fault: WriteFault) {
  const below = createMemoryStore({ environment });
  const write = (write: { number: number }) => (write.number === number ? fault : undefined);
  return { below, store: faultyStore(below, { write }) };
}

test("a lost write throws and did nothing; later ones succeed", async () => {
  const { below, store } = failingAt(1, { outcome: "lost", retryable: true });
  await expect(store.put(A, [BYTES])).rejects.toMatchObject({
    code: "storage-failed",
    retryable: true,
  });
  await expect(below.stat(A)).rejects.toMatchObject({ code: "blob-not-found" });
  await store.put(A, [BYTES]);
  expect(await store.get(A)).toEqual(BYTES);
  expect(store.writes).toBe(2);
});

test("a half-acknowledged write throws and was done, deletes included", async () => {
  const { below, store } = failingAt(2, { outcome: "half-acknowledged" });
  await store.put(A, [BYTES]);
  await expect(store.delete(A)).rejects.toMatchObject({ retryable: false });
  await expect(below.stat(A)).rejects.toMatchObject({ code: "blob-not-found" });
});

test.each(["lost", "half-acknowledged"] as const)(
  "a draft whose publishing is %s throws, counts as a put, and leaves nothing else",
  async (outcome) => {
    const root = await mkdtemp(join(tmpdir(), "varve-faulty-"));
    const below = await openFileSystemStore(root, { create: true });
    const write = ({ number }: { number: number }): WriteFault | undefined =>
      number === 1 ? { outcome, crash: true } : undefined;
    const store = faultyStore(below, { write });
    const open = await store.draft?.(B);
    const draft = await store.draft?.(A);
    await expect(draft?.publish([{ offset: 0, bytes: BYTES }])).rejects.toThrow(outcome);
    await expect(open?.publish([])).rejects.toThrow("has crashed");
    await expect(store.draft?.(B)).rejects.toThrow("has crashed");
    expect(store.writes).toBe(1);
    const stored = outcome === "lost" ? [".shards"] : [".shards", "a.f"];
    expect((await readdir(root)).sort()).toEqual(stored);
    await rm(root, { recursive: true });
  },
);

test("after a crash every call throws, and the storage keeps what it has", async () => {
  const { below, store } = failingAt(2, { outcome: "lost", crash: true });
  await store.put(A, [BYTES]);
  const calls = [
    () => store.put(B, [BYTES]),
    () => store.put(B, [BYTES]),
    () => store.get(A),
    () => store.stat(A),
    () => store.delete(A),
    () => store.list("")[Symbol.asyncIterator]().next(),
  ];
  for (const call of calls) {
    await expect(call()).rejects.toMatchObject({ code: "storage-failed" });
  }
  expect(await below.get(A)).toEqual(BYTES);
});

test("read faults hide, damage or cut the chosen blobs only", async () => {
  const below = createMemoryStore({ environment });
  await below.put(A, [BYTES]);
  await below.put(B, [BYTES]);
  const faulty = (fault: "missing" | "corrupt" | "truncated") =>
    faultyStore(below, { read: (id) => (id === A ? fault : undefined) });
  const sizes = async (store: ReturnType<typeof faulty>) => {
    const infos: [string, number][] = [];
    for await (const { id, size } of store.list("")) {
      infos.push([id, size]);
    }
    return infos;
  };

  await expect(faulty("missing").get(A)).rejects.toMatchObject({ code: "blob-not-found" });
  await expect(faulty("missing").stat(A)).rejects.toMatchObject({ code: "blob-not-found" });
  expect(await sizes(faulty("missing"))).toEqual([["b", 4]]);
  expect(await faulty("missing").get(B)).toEqual(BYTES);

  expect(await faulty("corrupt").get(A)).toEqual(Uint8Array.of(1, 2, 2, 4));
  expect(await below.get(A)).toEqual(BYTES);

  expect(await faulty("truncated").get(A)).toEqual(Uint8Array.of(1, 2));
  expect(await sizes(faulty("truncated"))).toEqual([
    ["a", 2],
    ["b", 4],
  ]);
  const range = { offset: 1, length: 2 };
  await expect(faulty("truncated").get(A, { range })).rejects.toMatchObject({
    code: "range-invalid",
  });
});

import { expect, test } from "vitest";
import { toHex, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { createFormat } from "../format/format-blob.ts";
import { createSealer } from "../format/sealer.ts";
import { type ContentId, contentIdOf } from "../index/content-id.ts";
import { parseIndex } from "../index/index-file.ts";
import { faultyStore, type FaultPlan } from "../testing/faulty-store.ts";
import { type SeededEnvironment, seededEnvironment } from "../testing/seeded-environment.ts";
import { type OpenContentStore, openContentStore } from "./open-content-store.ts";
import { openLocalIndex, parsePackTail } from "./pack-tail.ts";
import { sealContents } from "./seal-content.ts";
import type { SealedBatch } from "./sealed-batch.ts";

const PACK_SIZE = 20_000;
const crypto = await openCrypto();
const codecs = await openCodecs();
const environment: SeededEnvironment = seededEnvironment({ seed: 3 });
const format = {
  ...(await createFormat(
    { password: "pw", keyDerivation: "pbkdf2-sha256-600000" },
    { crypto, environment },
  )),
  maxPackSize: PACK_SIZE,
};
const sealer = createSealer(format, {
  crypto,
  randomBytes: (size) => environment.randomBytes(size),
});
const owner = { username: "me", hostname: "here" };

async function openContents(
  store: BlobStore,
  options: { readOnly?: boolean } = {},
): Promise<OpenContentStore> {
  const { readOnly = false } = options;
  const indexBlobs = createIndexBlobs({ store, sealer, format, environment });
  const wired = { store, format, crypto, sealer, codecs, indexBlobs, environment, owner };
  return await openContentStore({ ...wired, readOnly });
}

const data = (seed: number, size = 6000): Uint8Array =>
  seededEnvironment({ seed }).randomBytes(size);
const idOf = (bytes: Uint8Array): ContentId => contentIdOf("", sealer.hash(bytes));
const seal = (bytes: Uint8Array): SealedBatch => {
  const target = new Uint8Array(sealer.sealedLength(bytes.length));
  return sealContents([{ id: idOf(bytes), data: bytes }], { sealer, target });
};

async function blobIds(store: BlobStore, prefix = ""): Promise<BlobId[]> {
  const ids: BlobId[] = [];
  for await (const { id } of store.list(prefix)) {
    ids.push(id);
  }
  return ids;
}

/** The writes that a store sees, in order, by the first letters of the blobs. */
function recorded(store: BlobStore): { store: BlobStore; writes: string[] } {
  const writes: string[] = [];
  const write = ({ kind, id }: { kind: string; id: BlobId }): undefined => {
    writes.push(`${kind} ${id.startsWith("xn") ? "xn" : id.slice(0, 1)}`);
  };
  return { store: faultyStore(store, { write }), writes };
}

test("equal data written at the same time is stored once", async () => {
  const store = createMemoryStore();
  const contents = await openContents(store);
  const ids = await Promise.all(
    Array.from({ length: 50 }, (_, index) => contents.write(data(index % 5), { prefix: "" })),
  );
  await contents.flush();
  expect(new Set(ids).size).toBe(5);
  expect(contents.stats).toMatchObject({ newContents: 5, dedupedContents: 45 });
  expect([...contents.entries()]).toHaveLength(5);
});

test("a content is claimed by one caller, until it is stored and ever after", async () => {
  const contents = await openContents(createMemoryStore());
  const bytes = data(1);
  const id = idOf(bytes);
  expect(contents.claim([id, id])).toEqual([true, false]);
  expect(contents.claim([id])).toEqual([false]);
  await contents.append(seal(bytes));
  expect(contents.claim([id])).toEqual([false]);
  await contents.flush();
  expect(contents.claim([id])).toEqual([false]);
});

test("what was not claimed is not appended", async () => {
  const contents = await openContents(createMemoryStore());
  await expect(contents.append(seal(data(1)))).rejects.toThrow("was not claimed");
  await expect(contents.flush()).rejects.toThrow("was not claimed");
});

test("marker, packs, index, marker removed: in this order, under one session id for each flush", async () => {
  const memory = createMemoryStore();
  const { store, writes } = recorded(memory);
  const contents = await openContents(store);
  for (let seed = 0; seed < 8; seed++) {
    await contents.write(data(seed), { prefix: seed === 0 ? "k" : "" });
  }
  await contents.flush();
  expect(writes).toEqual(["put s", "put p", "put q", "put p", "put xn", "delete s"]);
  await contents.flush();
  expect(writes).toHaveLength(6);
  const sessions = new Set((await blobIds(memory)).map((id) => id.split("-")[1]));
  expect(sessions.size).toBe(1);
  await contents.write(data(100), { prefix: "" });
  await contents.flush();
  expect(new Set((await blobIds(memory)).map((id) => id.split("-")[1])).size).toBe(2);
});

test("the marker names the session and its owner", async () => {
  const markers: Uint8Array[] = [];
  const memory = createMemoryStore();
  const contents = await openContents({
    ...passThrough(memory),
    delete: async (id) => {
      markers.push(await memory.get(id));
    },
  });
  await contents.write(data(1), { prefix: "" });
  await contents.flush();
  expect(markers).toHaveLength(1);
  const [id = parseBlobId("none")] = await blobIds(memory, "s");
  const iv = id.slice(1, 33);
  const marker = sealer.open(markers[0] ?? new Uint8Array(0), Buffer.from(iv, "hex"));
  expect(JSON.parse(Buffer.from(marker).toString())).toEqual({
    id: id.split("-")[1],
    startTime: "2030-01-01T00:00:00Z",
    checkpointTime: "2030-01-01T00:00:00Z",
    username: "me",
    hostname: "here",
  });
});

test("a pack ends in an index of its own contents, on a boundary of 4096 bytes", async () => {
  const store = createMemoryStore();
  const contents = await openContents(store);
  for (let seed = 0; seed < 8; seed++) {
    await contents.write(data(seed), { prefix: "" });
  }
  await contents.flush();
  const packs = await blobIds(store, "p");
  expect(packs).toHaveLength(2);
  for (const packId of packs) {
    const pack = await store.get(packId);
    const position = parsePackTail(pack.subarray(-256), { packLength: pack.length });
    expect(position.offset % 4096).toBe(0);
    const sealed = pack.subarray(position.offset, position.offset + position.length);
    const local = [...parseIndex(openLocalIndex(sealed, { position, sealer })).entries()];
    const global = [...contents.entries()].filter(({ packBlobId }) => packBlobId === packId);
    expect(local.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(
      global.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    );
    expect(local).toHaveLength(4);
  }
});

test("a content that was removed is stored again, later than its tombstone", async () => {
  const store = createMemoryStore();
  const contents = await openContents(store);
  const id = await contents.write(data(1), { prefix: "" });
  await contents.flush();
  const first = contents.info(id);
  contents.remove([id, id]);
  const tombstone = contents.info(id);
  expect(tombstone).toEqual({
    ...first,
    deleted: true,
    timestampSeconds: (first?.timestampSeconds ?? 0) + 1,
  });
  expect(await contents.read(id)).toEqual(data(1));
  await contents.flush();
  await contents.write(data(1), { prefix: "" });
  await contents.flush();
  const again = contents.info(id);
  expect(again?.deleted).toBe(false);
  expect(again?.timestampSeconds).toBe((tombstone?.timestampSeconds ?? 0) + 1);
  expect(again?.packBlobId).not.toBe(first?.packBlobId);
  const reopened = await openContents(store);
  expect(reopened.info(id)).toEqual(again);
});

test("a content comes back even when its tombstone is hidden and the clock is behind", async () => {
  const store = createMemoryStore();
  const contents = await openContents(store);
  const id = await contents.write(data(1), { prefix: "" });
  contents.remove([id]);
  await contents.flush();
  const watermark = Math.floor(environment.nowMs() / 1000) + 5000;
  await store.put(parseBlobId(`xw${watermark}`), [utf8("deletion-watermark")]);
  await contents.refresh();
  expect(contents.info(id)).toBeUndefined();
  await contents.write(data(1), { prefix: "" });
  await contents.flush();
  expect((await openContents(store)).info(id)?.timestampSeconds).toBe(watermark + 1);
});

test("what is in no pack yet can be read", async () => {
  const contents = await openContents(createMemoryStore());
  const id = await contents.write(data(1), { prefix: "" });
  expect(await contents.read(id)).toEqual(data(1));
  const text = utf8("text ".repeat(100));
  const zstd = await contents.write(text, { prefix: "k", codec: codecs.byName("zstd") });
  expect(await contents.read(zstd)).toEqual(text);
  expect(contents.info(zstd)?.compressionHeaderId).toBe(0x1100);
});

test.each([1, 2, 3])("after pack %i could not be stored nothing is committed", async (failing) => {
  const memory = createMemoryStore();
  let packs = 0;
  const plan: FaultPlan = {
    write: ({ kind, id }) => {
      packs += kind === "put" && id.startsWith("p") ? 1 : 0;
      return id.startsWith("p") && packs === failing ? { outcome: "lost" } : undefined;
    },
  };
  const contents = await openContents(faultyStore(memory, plan));
  const writing = async (): Promise<void> => {
    for (let seed = 0; seed < 12; seed++) {
      await contents.write(data(seed), { prefix: "" });
    }
    await contents.flush();
  };
  await expect(writing()).rejects.toMatchObject({ code: "storage-failed" });
  await expect(contents.flush()).rejects.toMatchObject({ code: "storage-failed" });
  await expect(contents.write(data(99), { prefix: "" })).rejects.toThrow("injected fault: put p");
  expect(await blobIds(memory, "x")).toEqual([]);
});

test("a session whose index could not be written is lost", async () => {
  const memory = createMemoryStore();
  let failures = 1;
  const plan: FaultPlan = {
    write: ({ id }) => (id.startsWith("xn") && failures-- > 0 ? { outcome: "lost" } : undefined),
  };
  const contents = await openContents(faultyStore(memory, plan));
  await contents.write(data(1), { prefix: "" });
  await expect(contents.flush()).rejects.toThrow("injected fault: put xn");
  await expect(contents.flush()).rejects.toThrow("injected fault: put xn");
  expect(await blobIds(memory, "x")).toEqual([]);
});

test("a marker that cannot be removed does not undo the commit", async () => {
  const memory = createMemoryStore();
  const plan: FaultPlan = {
    write: ({ kind }) => (kind === "delete" ? { outcome: "lost" } : undefined),
  };
  const contents = await openContents(faultyStore(memory, plan));
  const id = await contents.write(data(1), { prefix: "" });
  await contents.flush();
  expect((await openContents(memory)).info(id)).toBeDefined();
  expect(environment.events.at(-1)).toMatchObject({ level: "warning" });
});

/** A store whose puts of packs wait until they are let go. */
function slowStore(): { store: BlobStore; waiting: (() => void)[] } {
  const memory = createMemoryStore();
  const waiting: (() => void)[] = [];
  const store: BlobStore = {
    ...passThrough(memory),
    put: async (id, parts, options) => {
      if (id.startsWith("p")) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      return await memory.put(id, parts, options);
    },
  };
  return { store, waiting };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    await Promise.resolve();
  }
}

/** Whether a promise is settled once all that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => true), turns().then(() => false)]);
}

test("no more than four packs are on their way, and writers wait", async () => {
  const { store, waiting } = slowStore();
  const contents = await openContents(store);
  const written: ContentId[] = [];
  const writing = (async () => {
    for (let seed = 0; seed < 40; seed++) {
      written.push(await contents.write(data(seed), { prefix: "" }));
    }
  })();
  await turns();
  expect(waiting).toHaveLength(4);
  expect(written).toHaveLength(4 * 4 - 1); // the content that closed the fifth pack waits
  for (let step = 0; written.length < 40 && step < 40; step++) {
    waiting.shift()?.();
    await turns();
    expect(waiting.length).toBeLessThanOrEqual(4);
  }
  await writing;
  const flushing = contents.flush();
  for (let left = 10; left > 0; left--) {
    waiting.shift()?.();
    await turns();
  }
  await flushing;
  expect([...(await openContents(store)).entries()]).toHaveLength(40);
});

test("a flush waits for what was claimed before it, not for what is claimed later", async () => {
  const contents = await openContents(createMemoryStore());
  contents.claim([idOf(data(1))]);
  const flushing = contents.flush();
  const flushed = isSettled(flushing);
  contents.claim([idOf(data(2))]);
  expect(await flushed).toBe(false);
  await contents.append(seal(data(1)));
  await flushing;
  const next = contents.flush();
  await contents.append(seal(data(2)));
  await next;
  expect(await contents.read(idOf(data(2)))).toEqual(data(2));
});

test("a claim can be given back while nobody counts on it", async () => {
  const contents = await openContents(createMemoryStore());
  const id = idOf(data(1));
  contents.claim([id]);
  contents.abandon([id], new Error("not needed"));
  await contents.flush();
  expect(contents.claim([id])).toEqual([true]);
  contents.claim([id]);
  contents.abandon([id], new Error("the worker died"));
  await expect(contents.flush()).rejects.toThrow("the worker died");
});

test("an aborted flush can be repeated, and nothing is written once it has thrown", async () => {
  const { store, waiting } = slowStore();
  const contents = await openContents(store);
  const id = await contents.write(data(1), { prefix: "" });
  const controller = new AbortController();
  const flushing = contents.flush({ signal: controller.signal });
  await turns();
  controller.abort(new Error("stop"));
  await turns();
  waiting.shift()?.();
  await expect(flushing).rejects.toThrow("stop");
  expect(await blobIds(store, "x")).toEqual([]);
  await expect(contents.flush({ signal: controller.signal })).rejects.toThrow("stop");
  await contents.flush();
  expect((await openContents(store)).info(id)).toBeDefined();
});

test("closing waits for uploads and commits nothing", async () => {
  const { store, waiting } = slowStore();
  const contents = await openContents(store);
  for (let seed = 0; seed < 5; seed++) {
    await contents.write(data(seed), { prefix: "" });
  }
  await turns();
  expect(waiting).toHaveLength(1);
  const closing = contents.close();
  expect(await isSettled(closing)).toBe(false);
  waiting.shift()?.();
  await closing;
  await contents.close();
  await expect(contents.write(data(9), { prefix: "" })).rejects.toThrow("closed");
  expect(await blobIds(store, "x")).toEqual([]);
});

test.each(["corrupt", "truncated", "missing"] as const)(
  "a pack that is %s is noticed",
  async (fault) => {
    const memory = createMemoryStore();
    let id: ContentId;
    {
      const contents = await openContents(memory);
      id = await contents.write(data(1), { prefix: "" });
      await contents.flush();
    }
    const plan: FaultPlan = { read: (blob) => (blob.startsWith("p") ? fault : undefined) };
    const contents = await openContents(faultyStore(memory, plan));
    const pack = contents.info(id)?.packBlobId ?? "";
    const reading = contents.read(id);
    await expect(reading).rejects.toMatchObject({ code: "corrupt" });
    await expect(reading).rejects.toThrow(id);
    await expect(reading).rejects.toThrow(pack);
  },
);

test("a content under another's id, or with another length, is corrupt", async () => {
  const contents = await openContents(createMemoryStore());
  const id = await contents.write(data(1), { prefix: "" });
  await contents.flush();
  const info = contents.info(id);
  if (info === undefined) {
    throw new VarveError("content-not-found", id);
  }
  const sealed = sealer.seal(data(2), sealer.hash(data(1)).subarray(-16));
  const corrupt = expect.objectContaining({ code: "corrupt" });
  expect(() => contents.decode(info, sealed)).toThrow(corrupt);
  const own = sealer.seal(data(1), sealer.hash(data(1)).subarray(-16));
  expect(contents.decode(info, own)).toEqual(data(1));
  expect(() => contents.decode({ ...info, originalLength: 5999 }, own)).toThrow(corrupt);
  expect(() => contents.decode(info, own.subarray(1))).toThrow(corrupt);
  expect(() => contents.decode({ ...info, compressionHeaderId: 0x1100 }, own)).toThrow(corrupt);
  expect(() => contents.decode({ ...info, encryptionKeyId: 1 }, own)).toThrow(
    expect.objectContaining({ code: "format-unsupported" }),
  );
});

test("an unknown content is not found", async () => {
  const contents = await openContents(createMemoryStore());
  await expect(contents.read(idOf(data(1)))).rejects.toMatchObject({ code: "content-not-found" });
  await expect(contents.write(data(1), { prefix: "kk" })).rejects.toMatchObject({
    code: "invalid-argument",
  });
});

test("a content that maintenance has moved is found again", async () => {
  const store = createMemoryStore();
  const writer = await openContents(store);
  const id = await writer.write(data(1), { prefix: "" });
  await writer.flush();
  const reader = await openContents(store, { readOnly: true });
  const old = writer.info(id)?.packBlobId ?? parseBlobId("none");
  writer.remove([id]);
  await writer.write(data(1), { prefix: "" });
  await writer.flush();
  await store.delete(old);
  environment.advance(60_000);
  expect(await reader.read(id)).toEqual(data(1));
});

test("a long session looks at what others have committed before it commits", async () => {
  const store = createMemoryStore();
  const [one, other] = [await openContents(store), await openContents(store)];
  const id = await other.write(data(1), { prefix: "" });
  await other.flush();
  await one.flush();
  expect(one.info(id)).toBeUndefined();
  environment.advance(15 * 60_000);
  await one.flush();
  expect(one.info(id)).toBeDefined();
  expect(toHex(await one.read(id))).toBe(toHex(data(1)));
});

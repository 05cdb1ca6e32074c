import { fstatSync, writeSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openDescriptors } from "../../test/open-descriptors.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { limitStore } from "../blob/limit-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobDraft, type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { createFormat } from "../format/format-blob.ts";
import { createSealer } from "../format/sealer.ts";
import { type ContentId, contentIdOf } from "../index/content-id.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import type { BatchPlace } from "./drafted-pack.ts";
import { type OpenContentStore, openContentStore } from "./open-content-store.ts";
import { sealContents } from "./seal-content.ts";
import type { SealedBatch } from "./sealed-batch.ts";

const crypto = await openCrypto();
const codecs = await openCodecs();
const environment = seededEnvironment({ seed: 4 });
const format = {
  ...(await createFormat(
    { password: "pw", keyDerivation: "pbkdf2-sha256-600000" },
    { crypto, environment },
  )),
  maxPackSize: 20_000,
};
const sealer = createSealer(format, {
  crypto,
  randomBytes: (size) => environment.randomBytes(size),
});

let root: string;
let store: BlobStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "varve-drafts-"));
  store = await openFileSystemStore(root, { create: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function openContents(below: BlobStore = store): Promise<OpenContentStore> {
  const indexBlobs = createIndexBlobs({ store: below, sealer, format, environment });
  const owner = { username: "me", hostname: "here" };
  const wired = { store: below, format, crypto, sealer, codecs, indexBlobs, environment, owner };
  return await openContentStore({ ...wired, readOnly: false });
}

/** Kinds of blobs in the store, and what lies there beside blobs. */
async function whatIsStored(): Promise<{ blobs: string; temporary: number }> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const kinds: string[] = [];
  for await (const { id } of store.list("")) {
    kinds.push(id.slice(0, 1));
  }
  const temporary = names.filter((name) => name.includes(".tmp."));
  return { blobs: kinds.sort().join(""), temporary: temporary.length };
}

interface Sealed {
  readonly id: ContentId;
  readonly plain: Uint8Array;
  readonly batch: SealedBatch;
}

function sealed(seed: number, size = 6000): Sealed {
  const plain = seededEnvironment({ seed }).randomBytes(size);
  const id = contentIdOf("", sealer.hash(plain));
  const target = new Uint8Array(sealer.sealedLength(size));
  return { id, plain, batch: sealContents([{ id, data: plain }], { sealer, target }) };
}

async function placeOf(contents: OpenContentStore, { id, batch }: Sealed): Promise<BatchPlace> {
  contents.claim([id]);
  return (await contents.place?.(batch)) ?? Promise.reject(new Error("a folder has places"));
}

async function draftOf(store: BlobStore, id: BlobId): Promise<BlobDraft> {
  return (await store.draft?.(id)) ?? Promise.reject(new Error("a folder has drafts"));
}

/** What a thread does with its place. */
function fill(place: BatchPlace, { batch }: Sealed): void {
  const { bytes } = batch;
  expect(writeSync(place.descriptor, bytes, 0, bytes.length, place.position)).toBe(bytes.length);
  place.written();
}

/** Whether it has settled when everything else has had its turn. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await readdir(root); // so long as a request to the file system takes
  await new Promise((resolve) => setImmediate(resolve));
  return !settled;
}

test("a content that has a place is read as soon as it is written, and stored by the flush, which waits for it", async () => {
  const contents = await openContents();
  const one = sealed(1);
  const place = await placeOf(contents, one);
  expect(contents.claim([one.id])).toEqual([false]);
  const reading = contents.read(one.id);
  const flushing = contents.flush();
  expect(await isPending(Promise.race([reading, flushing]))).toBe(true);
  fill(place, one);
  expect(await reading).toEqual(one.plain);
  await flushing;
  await contents.close();
  expect(await whatIsStored()).toEqual({ blobs: "px", temporary: 0 });
  expect(openDescriptors(root)).toBe(0);
  const reopened = await openContents();
  expect(await reopened.read(one.id)).toEqual(one.plain);
});

test("a content whose pack has just been stored is read from storage", async () => {
  let stored = (): void => {};
  let goOn = (): void => {};
  const isStored = new Promise<void>((resolve) => (stored = resolve));
  const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
  const slow: BlobStore = {
    ...passThrough(store),
    draft: async (id) => {
      const draft = await draftOf(store, id);
      return {
        ...draft,
        publish: async (pieces, options) => {
          const info = await draft.publish(pieces, options);
          stored();
          await mayGoOn;
          return info;
        },
      };
    },
  };
  const contents = await openContents(slow);
  const one = sealed(1);
  fill(await placeOf(contents, one), one);
  const flushing = contents.flush();
  await isStored;
  const reading = contents.read(one.id);
  goOn();
  expect(await reading).toEqual(one.plain);
  await flushing;
});

describe("a session is lost, and no index names its contents,", () => {
  test("when a place is", async () => {
    const contents = await openContents();
    const [good, bad] = [sealed(1), sealed(2)];
    fill(await placeOf(contents, good), good);
    const place = await placeOf(contents, bad);
    place.lost(new Error("the thread died"));
    await expect(contents.read(bad.id)).rejects.toThrow("the thread died");
    await expect(contents.flush()).rejects.toThrow("the thread died");
    await expect(placeOf(contents, sealed(3))).rejects.toThrow("the thread died");
    await expect(contents.room()).rejects.toThrow("the thread died");
    await contents.close();
    expect(await whatIsStored()).toEqual({ blobs: "", temporary: 0 });
    expect(openDescriptors(root)).toBe(0);
  });

  test("when the pack is being closed already", async () => {
    const contents = await openContents();
    const big = sealed(1, 30_000);
    const place = await placeOf(contents, big);
    const flushing = expect(contents.flush()).rejects.toThrow("the thread died");
    expect(await isPending(contents.room())).toBe(false); // one pack may be on its way
    place.lost(new Error("the thread died"));
    await flushing;
    await contents.close();
    expect(await whatIsStored()).toEqual({ blobs: "", temporary: 0 });
    expect(openDescriptors(root)).toBe(0);
  });

  test("when no draft can be made", async () => {
    const contents = await openContents();
    await store.put(parseBlobId("first"), []);
    await rm(root, { recursive: true });
    await expect(placeOf(contents, sealed(1))).rejects.toMatchObject({ code: "storage-failed" });
    await expect(contents.flush()).rejects.toMatchObject({ code: "storage-failed" });
    await contents.close();
  });

  test.each(["lost", "half-acknowledged"] as const)(
    "when publishing the pack is %s",
    async (outcome) => {
      const write = ({ number }: { number: number }) => (number === 2 ? { outcome } : undefined);
      const contents = await openContents(faultyStore(store, { write }));
      const one = sealed(1);
      fill(await placeOf(contents, one), one);
      await expect(contents.flush()).rejects.toThrow(`write 2, ${outcome}`);
      await expect(contents.flush()).rejects.toThrow(`write 2, ${outcome}`);
      await contents.close();
      const blobs = outcome === "lost" ? "s" : "ps";
      expect(await whatIsStored()).toEqual({ blobs, temporary: 0 });
      expect(openDescriptors(root)).toBe(0);
    },
  );
});

test("closing waits for those who have a place: till then its descriptor is the pack's", async () => {
  const contents = await openContents();
  const [open, full] = [sealed(1), sealed(2, 30_000)];
  const place = await placeOf(contents, full); // of a pack that is closed,
  const last = await placeOf(contents, open); // and of one that is not
  const inodes = [place, last].map(({ descriptor }) => fstatSync(descriptor).ino);
  const closing = contents.close();
  expect(await isPending(closing)).toBe(true);
  expect([place, last].map(({ descriptor }) => fstatSync(descriptor).ino)).toEqual(inodes);
  fill(place, full);
  expect(await isPending(closing)).toBe(true);
  expect(fstatSync(last.descriptor).ino).toBe(inodes[1]);
  fill(last, open);
  await closing;
  expect(await whatIsStored()).toEqual({ blobs: "", temporary: 0 });
  expect(openDescriptors(root)).toBe(0);
  await expect(placeOf(contents, sealed(3))).rejects.toThrow("closed");
});

test("who works with places goes on when limits are set, and nobody else begins", async () => {
  const limited = limitStore(store, { environment });
  const contents = await openContents(limited);
  const { place } = contents;
  limited.setLimits({ writesPerSecond: 1000 });
  expect(contents.place).toBeUndefined();
  const one = sealed(1);
  contents.claim([one.id]);
  fill((await place?.(one.batch)) ?? expect.fail("it was there"), one);
  await contents.flush();
  limited.setLimits({});
  const two = sealed(2);
  fill(await placeOf(contents, two), two);
  await contents.flush();
  await contents.close();
  const reopened = await openContents();
  expect(await reopened.read(one.id)).toEqual(one.plain);
  expect(await reopened.read(two.id)).toEqual(two.plain);
});

test("whatever is appended, placed, written, read and flushed in any order is there afterwards", async () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ do: fc.constant("append"), size: sizes() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("place"), size: sizes() }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("write"), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("read"), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("flush") }) },
  );
  let seed = 100;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const contents = await openContents();
      const known: Sealed[] = [];
      const open: { place: BatchPlace; content: Sealed }[] = [];
      const pending: Promise<unknown>[] = [];
      for (const next of steps) {
        if ("size" in next) {
          const content = sealed(seed++, next.size);
          known.push(content);
          if (next.do === "place") {
            open.push({ place: await placeOf(contents, content), content });
          } else {
            contents.claim([content.id]);
            pending.push(contents.append(content.batch));
          }
        } else if (!("pick" in next)) {
          pending.push(contents.flush());
        } else if (next.do === "write") {
          for (const { place, content } of open.splice(next.pick % (open.length + 1), 1)) {
            fill(place, content);
          }
        } else {
          const content = known[next.pick % Math.max(1, known.length)];
          pending.push(
            content === undefined ? Promise.resolve() : expectContent(contents, content),
          );
        }
      }
      for (const { place, content } of open.reverse()) {
        fill(place, content);
      }
      await Promise.all(pending);
      await contents.flush();
      await contents.close();
      expect(openDescriptors(root)).toBe(0);
      expect((await whatIsStored()).temporary).toBe(0);
      const reopened = await openContents();
      for (const content of known) {
        await expectContent(reopened, content);
      }
      await reopened.close();
    }),
    { seed: 1, numRuns: 12 },
  );
});

function sizes(): fc.Arbitrary<number> {
  return fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 19_000, max: 41_000 }));
}

async function expectContent(contents: OpenContentStore, { id, plain }: Sealed): Promise<void> {
  expect(Buffer.from(await contents.read(id)).equals(plain)).toBe(true);
}

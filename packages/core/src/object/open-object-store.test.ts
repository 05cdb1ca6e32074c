import * as fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { concatBytes, equalBytes, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openContentStore } from "../content/open-content-store.ts";
import type { ContentStore } from "../content/content-store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { createFormat } from "../format/format-blob.ts";
import { createSealer } from "../format/sealer.ts";
import type { Splitter } from "../splitter/splitter.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { indirectObjectId, type ObjectId, parseObjectId } from "./object-id.ts";
import type { ObjectEntry, ObjectStore } from "./object-store.ts";
import { openObjectStore } from "./open-object-store.ts";

const codecs = await openCodecs();
const environment = seededEnvironment({ seed: 3 });
let contents: ContentStore;

/** Chunks of 200 bytes, so that a few kilobytes make an object with an index of an index. */
const splitter: Splitter = {
  name: "FIXED-200",
  maxSize: 200,
  cuts: (window, atEnd) => {
    const ends = Array.from({ length: Math.floor(window.length / 200) }, (_, i) => (i + 1) * 200);
    return Uint32Array.from(atEnd && window.length % 200 !== 0 ? [...ends, window.length] : ends);
  },
};

beforeAll(async () => {
  const crypto = await openCrypto();
  const store = createMemoryStore();
  const options = { password: "pw", keyDerivation: "pbkdf2-sha256-600000" };
  const format = await createFormat(options, { crypto, environment });
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const sealer = createSealer(format, { crypto, randomBytes });
  const indexBlobs = createIndexBlobs({ store, sealer, format, environment });
  const owner = { username: "me", hostname: "here" };
  const wired = { store, format, crypto, sealer, codecs, indexBlobs, environment, owner };
  contents = await openContentStore({ ...wired, readOnly: false });
});

const objectsOf = (indexVersion: number): ObjectStore =>
  openObjectStore({ contents, codecs, splitter, indexVersion });

async function* parts(data: Uint8Array, size = 77): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < data.length; offset += size) {
    yield data.slice(offset, offset + size);
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

const noise = (size: number): Uint8Array => seededEnvironment({ seed: size }).randomBytes(size);

async function writeContent(text: string, prefix = ""): Promise<ObjectId> {
  return parseObjectId(await contents.write(utf8(text), { prefix }));
}

async function writeIndex(entries: readonly object[]): Promise<ObjectId> {
  const text = JSON.stringify({ stream: "kopia:indirect", entries });
  return indirectObjectId(await writeContent(text, "x"));
}

test("objects of all depths are read whole and in part", async () => {
  const objects = objectsOf(2);
  const data = noise(9000);
  for (const [length, shape] of [
    [0, /^[0-9a-f]+$/],
    [199, /^[0-9a-f]+$/],
    [201, /^Ix/],
    [9000, /^I{3,5}x/],
  ] as const) {
    const { id, size } = await objects.write(parts(data.subarray(0, length)));
    expect(id).toMatch(shape);
    expect(size).toBe(length);
    const reader = await objects.open(id);
    expect(reader.size).toBe(length);
    expect(equalBytes(concatBytes(await collect(reader.stream())), data.subarray(0, length))).toBe(
      true,
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(length), fc.nat(length), async (a, b) => {
        const range = { offset: Math.min(a, b), length: Math.abs(a - b) };
        const expected = data.subarray(range.offset, range.offset + range.length);
        expect(equalBytes(await reader.read(range), expected)).toBe(true);
      }),
      { seed: 1, numRuns: 50 },
    );
  }
});

test("an object does not depend on how its stream is cut", async () => {
  const objects = objectsOf(2);
  const data = noise(3000);
  const ids = await Promise.all(
    [1, 77, 5000].map(async (size) => (await objects.write(parts(data, size))).id),
  );
  expect(new Set(ids).size).toBe(1);
});

test("pieces and contents of an object are listed", async () => {
  const objects = objectsOf(2);
  const { id } = await objects.write(parts(noise(9000)));
  const pieces = await collect(objects.pieces(id));
  expect(pieces.map(({ start }) => start)).toEqual(Array.from({ length: 45 }, (_, i) => i * 200));
  const kept = new Set(await collect(objects.contents(id)));
  for (const { object } of pieces) {
    expect([...kept]).toContain(object);
  }
  expect([...kept].filter((content) => content.startsWith("x")).length).toBeGreaterThan(2);
  const single = await objects.write(parts(noise(100)));
  expect(await collect(objects.pieces(single.id))).toEqual([
    { start: 0, length: 100, object: single.id },
  ]);
});

test("the index of an object with a prefix has the same prefix", async () => {
  const { id } = await objectsOf(2).write(parts(noise(300)), { prefix: "k" });
  expect(id).toMatch(/^Ik/);
});

test("pieces that are stored already become one object", async () => {
  const objects = objectsOf(2);
  const [a, b] = [await writeContent("hello "), await writeContent("world")];
  const empty = await writeContent("");
  const pieces: ObjectEntry[] = [
    { start: 0, length: 6, object: a },
    { start: 6, length: 5, object: b },
    { start: 11, length: 0, object: empty },
  ];
  const id = await objects.assemble(pieces);
  expect(await collect(objects.pieces(id))).toEqual(pieces);
  const reader = await objects.open(id);
  expect(await reader.read({ offset: 4, length: 4 })).toEqual(utf8("o wo"));
  expect(await objects.assemble(pieces.slice(0, 1))).toBe(a);
  for (const bad of [[], pieces.slice(1), [pieces[0], pieces[2]]]) {
    const entries = bad.filter((piece) => piece !== undefined);
    await expect(objects.assemble(entries)).rejects.toMatchObject({ code: "invalid-argument" });
  }
});

test("what is compressed at object level is read, also within an index", async () => {
  const objects = objectsOf(1);
  const data = new Uint8Array(500).fill(65);
  const { id } = await objects.write(parts(data), { codec: codecs.byName("gzip") });
  const pieces = await collect(objects.pieces(id));
  expect(pieces.map(({ object }) => object.slice(0, 1))).toEqual(["Z", "Z", "Z"]);
  const reader = await objects.open(id);
  expect(await reader.read({ offset: 0, length: 500 })).toEqual(data);
  const bomb = await writeIndex([{ l: 100, o: pieces[0]?.object }]);
  const opened = await objects.open(bomb);
  await expect(opened.read({ offset: 0, length: 100 })).rejects.toMatchObject({ code: "corrupt" });
});

test("a range beyond the end is refused", async () => {
  const reader = await objectsOf(2).open(await writeContent("hello"));
  for (const range of [
    { offset: 0, length: 6 },
    { offset: 6, length: 0 },
    { offset: -1, length: 1 },
    { offset: 0, length: Number.NaN },
  ]) {
    await expect(reader.read(range)).rejects.toMatchObject({ code: "range-invalid" });
  }
});

test("a content that is missing is said to be", async () => {
  const objects = objectsOf(2);
  const missing = parseObjectId("00".repeat(16));
  const notFound = { code: "content-not-found" };
  await expect(objects.open(missing)).rejects.toMatchObject(notFound);
  await expect(objects.open(indirectObjectId(missing))).rejects.toMatchObject(notFound);
  const reader = await objects.open(await writeIndex([{ l: 5, o: missing }]));
  await expect(reader.read({ offset: 0, length: 5 })).rejects.toMatchObject(notFound);
});

test("pieces may be long objects themselves", async () => {
  const objects = objectsOf(2);
  const hello = await writeContent("hello");
  const inner = await writeIndex([
    { l: 5, o: hello },
    { s: 5, l: 5, o: hello },
  ]);
  const outer = await writeIndex([
    { l: 5, o: hello },
    { s: 5, l: 10, o: inner },
  ]);
  const reader = await objects.open(outer);
  expect(await reader.read({ offset: 3, length: 9 })).toEqual(utf8("lohellohe"));
  expect((await collect(objects.pieces(outer))).map(({ start }) => start)).toEqual([0, 5, 10]);
});

test("pieces of another length, without end, or too deep are corrupt", async () => {
  const objects = objectsOf(2);
  const hello = await writeContent("hello");
  const readAll = async (id: ObjectId): Promise<number> => {
    const reader = await objects.open(id);
    return concatBytes(await collect(reader.stream())).length;
  };
  const corrupt = { code: "corrupt" };
  const long = await writeIndex([{ l: 4, o: hello }]);
  await expect(readAll(long)).rejects.toMatchObject(corrupt);
  const wrong = await writeIndex([{ l: 9, o: await writeIndex([{ l: 5, o: hello }]) }]);
  await expect(readAll(wrong)).rejects.toMatchObject(corrupt);
  const empty = await writeIndex([{ o: await writeIndex([]) }]);
  await expect(collect(objects.pieces(empty))).rejects.toMatchObject(corrupt);
  await expect(collect(objects.contents(empty))).rejects.toMatchObject(corrupt);
  let deep = hello;
  for (let depth = 0; depth < 20; depth++) {
    deep = await writeIndex([{ l: 5, o: deep }]);
  }
  await expect(readAll(deep)).rejects.toMatchObject(corrupt);
  await expect(collect(objects.contents(deep))).rejects.toMatchObject(corrupt);
});

test("an index of any text gives an object or an error with a code", async () => {
  const objects = objectsOf(2);
  const hello = await writeContent("hello");
  const valid = `{"stream":"kopia:indirect","entries":[{"l":5,"o":"${hello}"},{"s":5,"l":5,"o":"${hello}"}]}`;
  await fc.assert(
    fc.asyncProperty(
      fc.nat(valid.length),
      fc.string({ maxLength: 3 }),
      fc.nat(3),
      async (at, inserted, removed) => {
        const text = valid.slice(0, at) + inserted + valid.slice(at + removed);
        const id = indirectObjectId(await writeContent(text, "x"));
        try {
          const reader = await objects.open(id);
          for await (const part of reader.stream()) {
            expect(part.length).toBeLessThanOrEqual(5);
          }
        } catch (error) {
          expect(isVarveError(error)).toBe(true);
        }
      },
    ),
    { seed: 1, numRuns: 300 },
  );
});

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { encodeIndexStream, type IndexCheckpoint, readIndexStream } from "./index-stream.ts";
import { parseObjectId } from "./object-id.ts";
import type { ObjectEntry } from "./object-store.ts";

const id = parseObjectId("4bc4");

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

async function* inSteps(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += step) {
    yield bytes.subarray(offset, offset + step);
  }
}

async function read(text: string, options: { step?: number; from?: IndexCheckpoint } = {}) {
  const { step = 1_000_000, from } = options;
  const stream = inSteps(utf8(text), step);
  return (await collect(readIndexStream(stream, { what: "object Ixaa", from }))).flat();
}

function entriesOf(lengths: readonly number[]): ObjectEntry[] {
  let start = 0;
  return lengths.map((length) => {
    const entry = { start, length, object: id };
    start += length;
    return entry;
  });
}

test("an index stream is written byte for byte as Kopia writes it", async () => {
  const stream = concatBytes(await collect(encodeIndexStream(entriesOf([8, 3, 0]))));
  expect(fromUtf8(stream)).toBe(
    '{"stream":"kopia:indirect","entries":[{"l":8,"o":"4bc4"},{"s":8,"l":3,"o":"4bc4"},{"s":11,"o":"4bc4"}]}\n',
  );
});

test("what is written is read again, however the stream is cut", async () => {
  const entries = entriesOf(Array.from({ length: 2500 }, (_, index) => (index % 7) + 1));
  const text = fromUtf8(concatBytes(await collect(encodeIndexStream(entries))));
  for (const step of [1, 7, 4096, 100_000]) {
    const found = await read(text, { step });
    expect(found.map(({ start, length, object }) => ({ start, length, object }))).toEqual(entries);
  }
});

test("reading can start again at any entry", async () => {
  const entries = entriesOf([5, 6, 7, 8]);
  const text = fromUtf8(concatBytes(await collect(encodeIndexStream(entries))));
  const all = await read(text);
  for (const [index, from] of all.entries()) {
    expect(await read(text.slice(from.streamOffset), { from })).toEqual(all.slice(index));
  }
});

test("keys in any case and order, unknown members, spaces and null lists are accepted", async () => {
  const entries = await read(
    ' { "Entries" : [ { "o" : "Z4bc4", "x": {"y": "]}"}, "L" : 3 } ,\n{"s":3,"l":1,"o":"Dk00"} ], "stream": "?" } \n',
  );
  expect(entries.map(({ length, object }) => [length, object])).toEqual([
    [3, "Z4bc4"],
    [1, "Dk00"],
  ]);
  expect(await read('{"stream":"kopia:indirect","entries":null}')).toEqual([]);
  expect(await read('{"stream":"kopia:indirect"}')).toEqual([]);
  expect(await read('{"stream":"kopia:indirect","entries":[]}')).toEqual([]);
});

test.each([
  ["nothing", ""],
  ["no object", "[]"],
  ["another list", '{"other":[]}'],
  ["entries of another type", '{"entries":"none"}'],
  ["a stream that ends early", '{"entries":[{"l":1,"o":"4bc4"}'],
  ["an unfinished entry", '{"entries":[{"l":1,"o":"4b'],
  ["trailing data", '{"entries":[]} {}'],
  ["an entry that is no object", '{"entries":[7]}'],
  ["a gap", '{"entries":[{"l":1,"o":"4bc4"},{"s":2,"l":1,"o":"4bc4"}]}'],
  ["an overlap", '{"entries":[{"l":2,"o":"4bc4"},{"s":1,"l":1,"o":"4bc4"}]}'],
  ["a first piece that starts late", '{"entries":[{"s":1,"l":1,"o":"4bc4"}]}'],
  ["a negative length", '{"entries":[{"l":-1,"o":"4bc4"}]}'],
  ["a fraction", '{"entries":[{"l":1.5,"o":"4bc4"}]}'],
  ["a huge length", '{"entries":[{"l":9007199254740993,"o":"4bc4"}]}'],
  [
    "a huge sum",
    '{"entries":[{"l":9007199254740991,"o":"4bc4"},{"s":9007199254740991,"l":1,"o":"4bc4"}]}',
  ],
  ["no object id", '{"entries":[{"l":1}]}'],
  ["a bad object id", '{"entries":[{"l":1,"o":"../etc"}]}'],
  ["an id with too many indirections", `{"entries":[{"l":1,"o":"${"I".repeat(17)}x00"}]}`],
  ["an endless entry", `{"entries":[{"x":"${"y".repeat(100_000)}`],
  ["an endless header", `{"x":"${"y".repeat(100_000)}`],
  ["an endless trailer", `{"entries":[],"x":"${"y".repeat(100_000)}"}`],
  ["too many empty pieces", `{"entries":[${'{"o":"4bc4"},'.repeat(1001)}{"o":"4bc4"}]}`],
])("%s is corrupt", async (_, text) => {
  await expect(read(text)).rejects.toMatchObject({ code: "corrupt" });
  await expect(read(text, { step: 5 })).rejects.toMatchObject({ code: "corrupt" });
});

test("mutated streams give contiguous entries or an error with a code", async () => {
  const valid = concatBytes(await collect(encodeIndexStream(entriesOf([5, 6, 7, 0]))));
  await fc.assert(
    fc.asyncProperty(
      fc.nat(valid.length - 1),
      fc.uint8Array({ maxLength: 4 }),
      fc.nat(valid.length),
      async (at, inserted, cut) => {
        const bytes = concatBytes([valid.subarray(0, at), inserted, valid.subarray(at, cut)]);
        try {
          let end = 0;
          for (const { start, length } of await read(fromUtf8(bytes), { step: 9 })) {
            expect(start).toBe(end);
            end = start + length;
          }
        } catch (error) {
          expect(isVarveError(error, "corrupt")).toBe(true);
        }
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});

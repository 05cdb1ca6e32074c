import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/index.json" with { type: "json" };
import { fromHex, toHex } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseBlobId } from "../blob/store.ts";
import { type ContentIndex, createContentIndex } from "./content-index.ts";
import { parseContentId } from "./content-id.ts";
import { type ContentInfo, winsOver } from "./content-info.ts";
import { encodeIndex } from "./index-writer.ts";

const base: ContentInfo = {
  id: parseContentId("00112233445566778899aabbccddeeff"),
  packBlobId: parseBlobId("p1-s1"),
  packOffset: 10,
  packedLength: 128,
  originalLength: 100,
  timestampSeconds: 1000,
  deleted: false,
  formatVersion: 3,
  compressionHeaderId: 0,
};
const absent = parseContentId("ffffffffffffffffffffffffffffffff");

function indexOf(...entries: readonly ContentInfo[]): ContentIndex {
  const index = createContentIndex();
  for (const entry of entries) {
    index.addEntry(entry);
  }
  return index;
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return isVarveError(error) ? error.code : String(error);
  }
}

/** What the rule looks at. */
function ruleKey(entry: ContentInfo): string {
  return `${entry.id} ${entry.timestampSeconds} ${entry.deleted} ${entry.packBlobId}`;
}

describe("merge rule", () => {
  const rows: readonly (readonly [string, Partial<ContentInfo>, Partial<ContentInfo>])[] = [
    ["the later one wins", { timestampSeconds: 1001 }, {}],
    ["a later deletion wins", { timestampSeconds: 1001, deleted: true }, {}],
    ["a later life wins", { timestampSeconds: 1001 }, { deleted: true }],
    ["of equal times the live one wins", {}, { deleted: true, packBlobId: parseBlobId("p9") }],
    ["then the larger pack id wins", { packBlobId: parseBlobId("p2") }, {}],
    ["of deleted ones too", { deleted: true, packBlobId: parseBlobId("q1") }, { deleted: true }],
    ["a longer pack id is larger", { packBlobId: parseBlobId("p1-s12") }, {}],
    ["times beyond 32 bits count", { timestampSeconds: 2 ** 32 }, { timestampSeconds: 2 ** 31 }],
  ];
  for (const [name, winner, loser] of rows) {
    test(`${name}, whatever comes first`, () => {
      const a = { ...base, ...winner };
      const b = { ...base, ...loser };
      expect(winsOver(a, b)).toBe(true);
      expect(winsOver(b, a)).toBe(false);
      expect(indexOf(a, b).get(base.id)).toEqual(a);
      expect(indexOf(b, a).get(base.id)).toEqual(a);
      expect(indexOf(b, a).count).toBe(1);
    });
  }
  test("of entries that agree in all this the first stays", () => {
    expect(indexOf(base, { ...base, packOffset: 99 }).get(base.id)).toEqual(base);
  });
  test("any order of files and entries gives the winners of the rule", () => {
    const entry = fc.record({
      id: fc
        .constantFrom("00aa", "k00aa", "00ab", "m01ff", "k00ab")
        .map((text) => parseContentId(text)),
      packBlobId: fc.constantFrom("p1", "p2", "q10", "q1").map((text) => parseBlobId(text)),
      packOffset: fc.constant(0),
      packedLength: fc.constant(50),
      originalLength: fc.constant(22),
      timestampSeconds: fc.constantFrom(5, 6, 2 ** 32 - 1),
      deleted: fc.boolean(),
      formatVersion: fc.constantFrom(1, 3),
      compressionHeaderId: fc.constantFrom(0, 0x1100),
    });
    const files = fc.array(fc.array(entry, { minLength: 1, maxLength: 6 }), { maxLength: 5 });
    // Entries that agree in what the rule looks at are made equal: any of them may win.
    fc.assert(
      fc.property(files, (files) => {
        const unique = new Map(files.flat().map((entry) => [ruleKey(entry), entry]));
        const index = createContentIndex();
        const winners = new Map<string, ContentInfo>();
        for (const entries of files) {
          index.addFile(
            encodeIndex(
              entries.map((entry) => unique.get(ruleKey(entry)) ?? entry),
              { version: 2 },
            ),
          );
        }
        for (const entry of unique.values()) {
          const known = winners.get(entry.id);
          if (known === undefined || winsOver(entry, known)) {
            winners.set(entry.id, entry);
          }
        }
        const listed = Array.from(
          index.entries({ deleted: true }),
          (entry) => [entry.id, entry] as const,
        );
        expect(new Map<string, ContentInfo>(listed)).toEqual(winners);
        expect(index.count).toBe(winners.size);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe("look-up", () => {
  test("tells apart prefixes, hashes and lengths", () => {
    const k = { ...base, id: parseContentId(`k${base.id}`), packOffset: 77 };
    const index = indexOf(base, k);
    expect(index.get(base.id)).toEqual(base);
    expect(index.get(k.id)).toEqual(k);
    for (const id of [absent, parseContentId(`m${base.id}`), parseContentId("00")]) {
      expect(index.get(id)).toBeUndefined();
      expect(index.has(id)).toBe(false);
      expect(index.isLive(id)).toBe(false);
    }
  });
  test("an index without entries has nothing", () => {
    const index = createContentIndex();
    index.addFile(fromHex("01ff001400000000"));
    expect(index.get(base.id)).toBeUndefined();
    expect([...index.entries({ deleted: true })]).toEqual([]);
    expect(index.count).toBe(0);
  });
  test("a deleted content is there but not live", () => {
    const index = indexOf({ ...base, deleted: true });
    expect([index.has(base.id), index.isLive(base.id)]).toEqual([true, false]);
    expect([...index.entries()]).toEqual([]);
    expect([...index.entries({ deleted: true })]).toEqual([{ ...base, deleted: true }]);
  });
  test("entries are filtered by prefix", () => {
    const k = { ...base, id: parseContentId(`k${base.id}`) };
    const index = indexOf(base, k);
    expect([...index.entries({ prefix: "" })]).toEqual([base]);
    expect([...index.entries({ prefix: "k" })]).toEqual([k]);
    expect([...index.entries({ prefix: "m" })]).toEqual([]);
    expect([...index.entries()]).toEqual([base, k]);
  });
  test("a content under an encryption key of its own is neither live nor readable", () => {
    const index = indexOf({ ...base, encryptionKeyId: 1 });
    expect(codeOf(() => index.get(base.id))).toBe("format-unsupported");
    expect([index.has(base.id), index.isLive(base.id)]).toEqual([true, false]);
    expect([...index.entries()]).toEqual([{ ...base, encryptionKeyId: 1 }]);
  });
});

describe("watermark", () => {
  test("hides what was deleted at it or before, and nothing else", () => {
    const live = { ...base, timestampSeconds: 1 };
    const at = { ...base, id: parseContentId(`k${base.id}`), deleted: true };
    const after = { ...at, id: parseContentId(`m${base.id}`), timestampSeconds: 1001 };
    const index = indexOf(live, at, after);
    index.setWatermark(1000);
    expect([...index.entries({ deleted: true })]).toEqual([live, after]);
    expect([index.get(at.id), index.has(at.id)]).toEqual([undefined, false]);
    expect(index.get(after.id)).toEqual(after);
    index.setWatermark(999);
    expect(index.get(at.id)).toEqual(at);
  });
  test("a hidden deletion still beats the older life of its content", () => {
    const index = indexOf({ ...base, timestampSeconds: 5 }, { ...base, deleted: true });
    index.setWatermark(2000);
    expect(index.get(base.id)).toBeUndefined();
  });
});

describe("what is rejected", () => {
  test("keys of another size: corrupt, naming both", () => {
    const index = indexOf(base);
    const other = { ...base, id: parseContentId("0011") };
    expect(() => index.addEntry(other)).toThrow("keys of 3 bytes among keys of 17 bytes");
    expect(codeOf(() => index.addFile(encodeIndex([other], { version: 2 })))).toBe("corrupt");
    expect([...index.entries()]).toEqual([base]);
  });
  test("numbers that no index holds: invalid-argument", () => {
    expect(codeOf(() => indexOf({ ...base, packOffset: 2 ** 30 }))).toBe("invalid-argument");
    expect(codeOf(() => indexOf({ ...base, packedLength: -1 }))).toBe("invalid-argument");
  });
  test("more formats than a record can number: corrupt", () => {
    const index = createContentIndex();
    const run = (): void => {
      for (let number = 0; number <= 65_536; number++) {
        const id = parseContentId(number.toString(16).padStart(8, "0"));
        index.addEntry({ ...base, id, compressionHeaderId: number });
      }
    };
    expect(codeOf(run)).toBe("corrupt");
  });
});

test("known answers are merged from both versions", () => {
  const index = createContentIndex();
  index.addFile(fromHex(vectors.indexFiles.version1.hex));
  index.addFile(fromHex(vectors.indexFiles.version2.hex));
  const ids = Array.from(index.entries({ deleted: true }), (entry) => entry.id);
  expect(ids.toSorted()).toEqual([
    "00112233445566778899aabbccddeeff",
    "ffeeddccbbaa99887766554433221100",
    "k0123456789abcdef0123456789abcdef",
  ]);
});

test("a hundred thousand contents take at most 64 bytes each and are all found", () => {
  const count = 100_000;
  const entries = Array.from({ length: count }, (_, number): ContentInfo => {
    const words = new Uint32Array(4);
    for (let word = 0; word < 4; word++) {
      words[word] = Math.imul(number * 4 + word + 1, 0x9e3779b1);
    }
    const id = parseContentId(toHex(new Uint8Array(words.buffer)));
    const pack = String(Math.floor(number / 5)).padStart(33, "p");
    return { ...base, id, packBlobId: parseBlobId(`${pack}-s0123456789abcdef147`) };
  });
  const index = createContentIndex();
  index.addFile(encodeIndex(entries, { version: 2 }));
  expect(index.count).toBe(count);
  expect(index.memoryBytes / count).toBeLessThanOrEqual(64);
  expect(entries.filter((entry) => !index.isLive(entry.id))).toEqual([]);
  expect(index.get(entries[count - 1]?.id ?? absent)).toEqual(entries[count - 1]);
});

describe("packs that are not as long as the index needs", () => {
  const [a, b, c] = ["aa", "bb", "cc"].map((hex, number) => ({
    ...base,
    id: parseContentId(hex.repeat(16)),
    packOffset: number * 100,
    packedLength: 100,
  })) as [ContentInfo, ContentInfo, ContentInfo]; // three, as listed
  const other = { ...base, id: absent, packBlobId: parseBlobId("p2-s1") };
  const all = [a, b, c, other];

  test("are told with their sizes; longer ones, deleted entries and unknown packs need nothing", () => {
    const dead = { ...base, deleted: true, packBlobId: parseBlobId("p3-s1") };
    const index = indexOf(...all, dead);
    const needs = index.packNeeds();
    index.addEntry({ ...base, timestampSeconds: 2000, packBlobId: parseBlobId("p5-s1") }); // later
    needs.found(parseBlobId("p4-s1"), 5);
    needs.found(a.packBlobId, 299);
    expect([...needs.unmet()]).toEqual([
      ["p1-s1", 299],
      ["p2-s1", -1],
    ]);
    needs.found(a.packBlobId, 300);
    expect([...needs.unmet().keys()]).toEqual(["p2-s1"]);
  });

  test("take out what lies beyond their end, until it is stored elsewhere or trusted again", () => {
    const index = indexOf(...all);
    const live = (): boolean[] => all.map(({ id }) => index.isLive(id));
    expect(index.lost()).toEqual({ contents: 0, missingPacks: 0, shortPacks: 0 });
    index.setPackSizes(
      new Map([
        [a.packBlobId, 200],
        [other.packBlobId, -1],
      ]),
    );
    expect(live()).toEqual([true, true, false, false]);
    expect(index.lost()).toEqual({ contents: 2, missingPacks: 1, shortPacks: 1 });
    expect(index.get(c.id)).toEqual(c);
    index.addEntry({ ...c, timestampSeconds: 1001, packBlobId: parseBlobId("p9-s1") });
    expect(live()).toEqual([true, true, true, false]);
    index.setPackSizes(new Map());
    expect(live()).toEqual([true, true, true, true]);
  });
});

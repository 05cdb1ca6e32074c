import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/index.json" with { type: "json" };
import { fromHex, toHex } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseBlobId } from "../blob/store.ts";
import { parseContentId } from "./content-id.ts";
import type { ContentInfo } from "./content-info.ts";
import { parseIndex } from "./index-file.ts";
import { encodeIndex, shardIndex } from "./index-writer.ts";
import { type ContentIndex, createContentIndex } from "./content-index.ts";

const cases = [
  { name: "version2", version: 2, vector: vectors.indexFiles.version2 },
  { name: "version2LongLengths", version: 2, vector: vectors.indexFiles.version2LongLengths },
  { name: "version1", version: 1, vector: vectors.indexFiles.version1 },
] as const;

function infosOf(entries: (typeof cases)[number]["vector"]["entries"]): ContentInfo[] {
  return entries.map((entry) => ({
    id: parseContentId(entry.contentID),
    packBlobId: parseBlobId(entry.packBlobID),
    packOffset: entry.packOffset,
    packedLength: entry.packedLength,
    originalLength: entry.originalLength,
    timestampSeconds: entry.timestamp,
    deleted: entry.deleted,
    formatVersion: entry.formatVersion,
    compressionHeaderId: entry.compressionHeaderID,
  }));
}

const sample = infosOf(vectors.indexFiles.version2.entries);
const validV2 = fromHex(vectors.indexFiles.version2.hex);
const validV1 = fromHex(vectors.indexFiles.version1.hex);

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (isVarveError(error)) {
      return error.code;
    }
    throw error;
  }
}

/** `bytes` with the big-endian `value` of `size` bytes at `offset`. */
function patched(bytes: Uint8Array, offset: number, value: number, size: number): Uint8Array {
  const copy = bytes.slice();
  for (let index = size - 1, rest = value; index >= 0; index--) {
    copy[offset + index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return copy;
}

describe("known answers", () => {
  for (const { name, version, vector } of cases) {
    test(`${name} is read as Kopia means it`, () => {
      const file = parseIndex(fromHex(vector.hex));
      expect([...file.entries()]).toEqual(infosOf(vector.entries));
      expect({ version: file.version, count: file.count, keySize: file.keySize }).toEqual({
        version,
        count: vector.entries.length,
        keySize: 17,
      });
    });
    test(`${name} is written byte for byte, whatever the order of the entries`, () => {
      const entries = infosOf(vector.entries);
      expect(toHex(encodeIndex(entries, { version }))).toBe(vector.hex);
      expect(toHex(encodeIndex(entries.toReversed(), { version }))).toBe(vector.hex);
    });
  }
});

describe("find", () => {
  test("gives every entry and nothing else", () => {
    const file = parseIndex(validV2);
    expect(sample.map((entry) => file.find(entry.id))).toEqual(sample);
    expect(file.find(parseContentId("00112233445566778899aabbccddee00"))).toBeUndefined();
    expect(file.find(parseContentId("m0123456789abcdef0123456789abcdef"))).toBeUndefined();
    expect(file.find(parseContentId("0011"))).toBeUndefined();
  });
  test("throws format-unsupported only for an entry under an encryption key of its own", () => {
    const [first, second, third] = sample as [ContentInfo, ContentInfo, ContentInfo];
    const file = parseIndex(
      encodeIndex([{ ...first, encryptionKeyId: 7 }, ...sample.slice(1)], {
        version: 2,
      }),
    );
    expect(codeOf(() => file.find(first.id))).toBe("format-unsupported");
    expect(file.find(second.id)).toEqual(second);
    expect([...file.entries()]).toEqual([{ ...first, encryptionKeyId: 7 }, second, third]);
  });
});

describe("what is tolerated", () => {
  test("trailing bytes", () => {
    const trailing = new Uint8Array([...validV2, ...new Uint8Array(32).fill(9)]);
    expect([...parseIndex(trailing).entries()]).toEqual(sample);
  });
  test("an empty file, whose key size Kopia writes as 255", () => {
    const file = parseIndex(fromHex("01ff001400000000"));
    expect([...file.entries()]).toEqual([]);
    expect(file.find(parseContentId("00"))).toBeUndefined();
  });
  test("a base timestamp and larger entries than needed", () => {
    // One entry of size 19: base 1000, timestamp +5, deleted, offset 7, lengths 0x2000003 and 0x1000002, pack 0.
    const header = "02020013000000010000000101000003e8";
    const entry = "6b0100000005800000070000030000020000000021";
    const tables = "04000000310000110003007061636b";
    const file = parseIndex(fromHex(header + entry + tables));
    expect([...file.entries()]).toEqual([
      {
        id: "k01",
        packBlobId: "pack",
        packOffset: 7,
        packedLength: 0x1000002,
        originalLength: 0x2000003,
        timestampSeconds: 1005,
        deleted: true,
        formatVersion: 3,
        compressionHeaderId: 0x1100,
      },
    ]);
  });
});

describe("what is rejected", () => {
  const corrupt: readonly (readonly [string, Uint8Array])[] = [
    ["no bytes", new Uint8Array(0)],
    ["half a header", validV2.subarray(0, 12)],
    ["key size 1", patched(validV2, 1, 1, 1)],
    ["key size 34", patched(validV2, 1, 34, 1)],
    ["entry size 15", patched(validV2, 2, 15, 2)],
    ["entry size 20", patched(validV2, 2, 20, 2)],
    ["entry size 21 in version 1", patched(validV1, 2, 21, 2)],
    ["four billion entries", patched(validV2, 4, 2 ** 32 - 1, 4)],
    ["four billion entries in version 1", patched(validV1, 4, 2 ** 32 - 1, 4)],
    ["four billion packs", patched(validV2, 8, 2 ** 32 - 1, 4)],
    ["no packs", patched(validV2, 8, 0, 4)],
    ["255 formats", patched(validV2, 12, 255, 1)],
    ["a pack name outside", patched(validV2, 120, 300, 4)],
    ["a pack name that is no blob id", patched(validV2, 147, 0x2f, 1)],
    ["a pack name without length", patched(validV2, 119, 0, 1)],
    ["a pack name outside in version 1", patched(validV1, 8 + 17 + 8, 1000, 4)],
    ["a pack number outside", patched(validV2, 34 + 14, 2, 2)],
    ["a format number outside", patched(validV2, 34 + 16, 3, 1)],
    ["a prefix that is no letter g to z", patched(validV2, 85, 0x41, 1)],
    ["keys out of order", patched(validV2, 17, 0x7a, 1)],
    ["a key twice", new Uint8Array(validV2).copyWithin(51, 17, 34)],
    ["a packed length below the overhead", patched(validV1, 8 + 17 + 16, 27, 4)],
    ["a packed length of 2^28 in version 1", patched(validV1, 8 + 17 + 16, 2 ** 28, 4)],
    ["a timestamp of 2^40", patched(validV1, 8 + 17, 2 ** 40, 6)],
  ];
  for (const [name, bytes] of corrupt) {
    test(`${name}: corrupt`, () => {
      expect(codeOf(() => parseIndex(bytes))).toBe("corrupt");
    });
  }
  test("another version: format-unsupported", () => {
    expect(codeOf(() => parseIndex(patched(validV2, 0, 3, 1)))).toBe("format-unsupported");
  });
});

describe("writer limits", () => {
  const [entry] = sample as [ContentInfo];
  const refused: readonly (readonly [string, readonly ContentInfo[], 1 | 2])[] = [
    ["no entries", [], 2],
    ["ids of different length", [entry, { ...entry, id: parseContentId("0011") }], 2],
    ["an offset of 2^30", [{ ...entry, packOffset: 2 ** 30 }], 2],
    ["a packed length of 2^28", [{ ...entry, packedLength: 2 ** 28 }], 2],
    ["an original length of 2^28", [{ ...entry, originalLength: 2 ** 28 }], 2],
    ["a timestamp of 2^32", [{ ...entry, timestampSeconds: 2 ** 32 }], 2],
    ["a fraction of a second", [{ ...entry, timestampSeconds: 1.5 }], 2],
    ["compression in version 1", [{ ...entry, compressionHeaderId: 0x1100 }], 1],
    ["an underivable length in version 1", [{ ...entry, originalLength: 99 }], 1],
    [
      "256 formats",
      Array.from({ length: 256 }, (_, formatVersion) => ({
        ...entry,
        id: parseContentId(formatVersion.toString(16).padStart(2, "0")),
        formatVersion,
      })),
      2,
    ],
  ];
  for (const [name, entries, version] of refused) {
    test(`${name}: invalid-argument`, () => {
      expect(codeOf(() => encodeIndex(entries, { version }))).toBe("invalid-argument");
    });
  }
  test("more than 65536 packs take entries of 18 bytes", () => {
    const entries = Array.from({ length: 65_537 }, (_, number) => ({
      ...entry,
      id: parseContentId(number.toString(16).padStart(8, "0")),
      packBlobId: parseBlobId(`p${number}`),
    }));
    const bytes = encodeIndex(entries, { version: 2 });
    expect(bytes[3]).toBe(18);
    expect([...parseIndex(bytes).entries()]).toEqual(entries);
  });
});

function tableOf(entries: readonly ContentInfo[]): ContentIndex {
  const table = createContentIndex();
  for (const entry of entries) {
    table.addEntry(entry);
  }
  return table;
}

describe("shards", () => {
  test("no entries make no file, few make one", () => {
    expect(shardIndex(tableOf([]), { version: 2 })).toEqual([]);
    expect(shardIndex(tableOf(sample), { version: 2 }).map(toHex)).toEqual([
      vectors.indexFiles.version2.hex,
    ]);
  });
  test("FNV-1a of the id text decides the file", () => {
    // FNV-1a-32 of the three ids modulo 3 is 2, 0, 0; no file is written for 1.
    const shards = shardIndex(tableOf(sample), { version: 2, maxEntriesPerShard: 1 });
    const ids = shards.map((bytes) => [...parseIndex(bytes).entries()].map((entry) => entry.id));
    expect(ids).toEqual([
      ["ffeeddccbbaa99887766554433221100", "k0123456789abcdef0123456789abcdef"],
      ["00112233445566778899aabbccddeeff"],
    ]);
  });
});

const entryArbitrary: fc.Arbitrary<ContentInfo> = fc.record({
  id: fc
    .tuple(fc.constantFrom("", "k", "m", "g", "z"), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(([prefix, hash]) => parseContentId(prefix + toHex(hash))),
  packBlobId: fc.constantFrom("p1", "q2-s3", "p4").map(parseBlobId),
  packOffset: fc.nat({ max: 2 ** 30 - 1 }),
  packedLength: fc.nat({ max: 2 ** 28 - 1 }),
  originalLength: fc.nat({ max: 2 ** 28 - 1 }),
  timestampSeconds: fc.nat({ max: 2 ** 31 }),
  deleted: fc.boolean(),
  formatVersion: fc.integer({ min: 1, max: 3 }),
  compressionHeaderId: fc.constantFrom(0, 0x1100, 0xffffffff),
});

test("what is written is read back, sorted", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(entryArbitrary, { minLength: 1, maxLength: 40, selector: (e) => e.id }),
      (entries) => {
        const file = parseIndex(encodeIndex(entries, { version: 2 }));
        const sorted = entries.toSorted((a, b) => (a.id < b.id ? -1 : 1));
        expect([...file.entries()]).toEqual(sorted);
        expect(sorted.map((entry) => file.find(entry.id))).toEqual(sorted);
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});

test("arbitrary bytes and damaged files give entries or a VarveError", () => {
  const damaged = fc
    .tuple(
      fc.constantFrom(validV1, validV2),
      fc.array(fc.tuple(fc.nat({ max: 254 }), fc.nat({ max: 255 })), {
        minLength: 1,
        maxLength: 6,
      }),
      fc.nat({ max: 255 }),
    )
    .map(([valid, changes, cut]) => {
      const bytes = valid.slice();
      for (const [offset, byte] of changes) {
        bytes[offset] = byte;
      }
      return cut < 128 ? bytes : bytes.subarray(0, cut);
    });
  const random = fc
    .tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 300 }))
    .map(([version, rest]) => new Uint8Array([version, ...rest]));
  fc.assert(
    fc.property(fc.oneof(damaged, random), (bytes) => {
      const code = codeOf(() => {
        const file = parseIndex(bytes);
        const ids = Array.from(file.entries(), (entry) => parseContentId(entry.id));
        expect(ids.length).toBe(file.count);
      });
      expect(["corrupt", "format-unsupported", undefined]).toContain(code);
    }),
    { seed: 1, numRuns: 5000 },
  );
});

import { createCipheriv, createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/compression.json" with { type: "json" };
import { concatBytes, equalBytes, fromBase64, fromHex, toHex, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import type { Codec, Codecs } from "./codec.ts";
import { openCodecs } from "./registry.ts";
import type { ZstdChoice } from "./zstd.ts";

const providers = await availableProviders();
const codecs = await openCodecs();
const plaintext = utf8(
  Array.from({ length: 100 }, (_, index) => `line ${index} the quick brown fox\n`).join(""),
);

/** Every implementation of zstd that runs here. */
async function availableProviders(): Promise<ReadonlyMap<ZstdChoice, Codecs>> {
  const opened = new Map<ZstdChoice, Codecs>();
  for (const choice of ["node", "native", "wasm"] as const) {
    try {
      opened.set(choice, await openCodecs({ zstd: choice }));
    } catch (error) {
      expect(isVarveError(error, "unsupported")).toBe(true);
    }
  }
  return opened;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Deterministic bytes that do not compress. */
function noise(length: number, seed = 1): Uint8Array {
  let state = seed;
  return new Uint8Array(length).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** Bytes of every kind: noise, runs, text that repeats, and these joined. */
function dataOf(maxLength: number): fc.Arbitrary<Uint8Array> {
  const length = fc.integer({ min: 0, max: maxLength });
  const piece = fc.oneof(
    fc.tuple(length, fc.nat()).map(([size, seed]) => noise(size, seed)),
    fc
      .tuple(length, fc.integer({ max: 255, min: 0 }))
      .map(([size, byte]) => new Uint8Array(size).fill(byte)),
    fc.tuple(length, fc.integer({ min: 1, max: 900 })).map(([size, period]) => {
      const pattern = noise(period, period);
      return new Uint8Array(size).map((_, index) => pattern[index % period] ?? 0);
    }),
    fc.uint8Array({ maxLength: Math.min(maxLength, 300) }),
  );
  return fc
    .array(piece, { minLength: 1, maxLength: 4 })
    .map((pieces) => concatBytes(pieces).slice(0, maxLength));
}

/** A keystream: unlike {@link noise}, no four bytes of it come again soon. */
function randomBytes(length: number): Uint8Array {
  const cipher = createCipheriv("aes-128-ctr", new Uint8Array(16), new Uint8Array(16));
  return new Uint8Array(cipher.update(new Uint8Array(length)));
}

/** What a decoder may do with any bytes: give at most `maxSize` bytes, or fail as `corrupt`. */
function expectBounded(codec: Codec, stream: Uint8Array, maxSize: number): void {
  try {
    expect(codec.decompress(stream, maxSize).length).toBeLessThanOrEqual(maxSize);
  } catch (error) {
    expect(isVarveError(error, "corrupt") ? "corrupt" : error).toBe("corrupt");
  }
}

function expectCorrupt(codec: Codec, stream: Uint8Array, maxSize: number): void {
  expect(() => codec.decompress(stream, maxSize)).toThrow(
    expect.objectContaining({ code: "corrupt" }),
  );
}

test("at least the portable zstd and one native run here, and the fastest is picked", () => {
  expect(providers.size).toBeGreaterThanOrEqual(2);
  expect(codecs.zstdProvider).toBe([...providers.values()][0]?.zstdProvider);
});

test("a provider that cannot run is refused, not replaced", async () => {
  for (const choice of ["node", "native", "wasm"] as const) {
    if (!providers.has(choice)) {
      await expect(openCodecs({ zstd: choice })).rejects.toMatchObject({ code: "unsupported" });
    }
  }
  expect(new Set([...providers.values()].map((each) => each.zstdProvider)).size).toBe(
    providers.size,
  );
});

test("names and header ids name the same eighteen codecs; others are refused", () => {
  expect(codecs.names).toHaveLength(18);
  for (const name of codecs.names) {
    const codec = codecs.byName(name);
    expect(codec.name).toBe(name);
    expect(codecs.byHeaderId(codec.headerId)).toBe(codec);
  }
  for (const name of ["", "none", "zstd-9"]) {
    expect(() => codecs.byName(name)).toThrow(
      expect.objectContaining({ code: "invalid-argument" }),
    );
  }
  expect(() => codecs.byHeaderId(0x1104)).toThrow(
    expect.objectContaining({ code: "format-unsupported" }),
  );
});

describe.each([...providers])("with zstd of %s", (_, provided) => {
  test.each(Object.entries(vectors.kopia.base64))("Kopia's %s sample decodes", (name, base64) => {
    const stored = fromBase64(base64);
    const codec = provided.byName(name);
    expect(new DataView(stored.buffer).getUint32(0)).toBe(codec.headerId);
    const decoded = codec.decompress(stored.subarray(4), plaintext.length);
    expect(sha256(decoded)).toBe(vectors.kopia.plaintextSha256);
    expectCorrupt(codec, stored.subarray(4), plaintext.length - 1);
  });
});

const everyWay = [...providers].flatMap(([choice, provided]) =>
  provided.names
    .filter((name) => provided.byName(name).writable && (choice === "wasm" || /zstd/.test(name)))
    .map((name) => [name, choice, provided.byName(name)] as const),
);

describe.each(everyWay)("%s (%s)", (name, _, codec) => {
  test("what it compresses, it gives back", () => {
    fc.assert(
      fc.property(dataOf(200_000), (data) => {
        const decoded = codec.decompress(codec.compress(data), data.length);
        expect(sha256(decoded)).toBe(sha256(data));
      }),
      { seed: 1, numRuns: 12 },
    );
  });

  test("a stream is the same wherever it is put, and put in a target only when it fits", () => {
    for (const data of [plaintext, concatBytes([plaintext, noise(600_000)])]) {
      const stream = codec.compress(data);
      const own = data.slice();
      expect(equalBytes(codec.compress(own, own.subarray(4)), stream)).toBe(true);
      const size = codec.streamSize(data);
      expect(Math.abs(size - stream.length)).toBeLessThan(40); // of another implementation, where that is better
      const short = new Uint8Array(stream.length - 1);
      expect(equalBytes(codec.compress(data, short), stream)).toBe(true);
      expect(equalBytes(short, new Uint8Array(stream.length - 1))).toBe(true);
    }
  });

  test("a stream longer than the size allowed is corrupt, however far it expands", () => {
    const bomb = codec.compress(new Uint8Array(8 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(50_000);
    expectCorrupt(codec, bomb, 1_000_000);
    expectCorrupt(codec, codec.compress(Uint8Array.of(1)), 0);
  });

  test("the input is left as it was and the output is not a Buffer", () => {
    const data = noise(100_000);
    const stream = codec.compress(data);
    const before = sha256(stream);
    const decoded = codec.decompress(stream, data.length);
    expect([sha256(data), sha256(stream)]).toEqual([sha256(noise(100_000)), before]);
    expect([stream.constructor, decoded.constructor]).toEqual([Uint8Array, Uint8Array]);
  });

  test("damaged streams give bytes or `corrupt`", () => {
    const data = concatBytes([plaintext, noise(500), new Uint8Array(3000), plaintext]);
    const stream = codec.compress(data);
    const damage = fc.array(fc.tuple(fc.nat(stream.length - 1), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(damage, fc.nat(stream.length), (bytes, length) => {
        const damaged = stream.slice();
        for (const [at, value] of bytes) {
          damaged[at] = value;
        }
        expectBounded(codec, damaged, data.length);
        expectBounded(codec, damaged.subarray(0, length), 100);
        expectBounded(codec, concatBytes([damaged, stream]), data.length);
      }),
      { seed: 1, numRuns: name.includes("best") ? 50 : 200 },
    );
  });
});

test("arbitrary bytes behind every magic give bytes or `corrupt`", () => {
  const magics: readonly (readonly [string, readonly number[]])[] = [
    ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
    ["s2-default", [0xff, 6, 0, 0, ...utf8("S2sTwO"), 0]],
    ["gzip", [0x1f, 0x8b, 8]],
    ["deflate-default", []],
    ["lz4", [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]],
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(5000), (bytes, maxSize) => {
      for (const provided of providers.values()) {
        for (const [name, magic] of magics) {
          expectBounded(provided.byName(name), bytes, maxSize);
          expectBounded(
            provided.byName(name),
            concatBytes([Uint8Array.from(magic), bytes]),
            maxSize,
          );
        }
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

test("every implementation of zstd reads the others' frames", () => {
  const data = concatBytes([plaintext, noise(200_000), new Uint8Array(300_000), plaintext]);
  for (const writer of providers.values()) {
    for (const name of writer.names.filter((each) => each.startsWith("zstd"))) {
      const stream = writer.byName(name).compress(data);
      for (const reader of providers.values()) {
        expect(sha256(reader.byName(name).decompress(stream, data.length))).toBe(sha256(data));
      }
    }
  }
});

describe("s2", () => {
  const codec = codecs.byName("s2-better");

  test.each(vectors.s2.samples)("reads $name", ({ size, sha256: expected, base64 }) => {
    const decoded = codec.decompress(fromBase64(base64), size);
    expect([decoded.length, toHex(createHash("sha256").update(decoded).digest())]).toEqual([
      size,
      expected,
    ]);
  });

  test("damage to a writer's sample that repeats offsets gives bytes or `corrupt`", () => {
    const samples = vectors.s2.samples.map(({ base64 }) => fromBase64(base64));
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.nat(), fc.nat(255), (sample, at, value) => {
        const damaged = sample.slice();
        damaged[at % sample.length] = value;
        expectBounded(codec, damaged, 4 * 1024 * 1024);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test("crosses blocks, and reaches back further than 64 KiB", () => {
    const lines = Array.from({ length: 4000 }, (_, index) => `line ${index * index} of many\n`);
    const once = utf8(lines.join(""));
    expect(once.length).toBeGreaterThan(65_536);
    const twice = concatBytes([once, new Uint8Array(1024 * 1024 - 3 * once.length), once, once]);
    const stream = codec.compress(concatBytes([twice, twice]));
    expect(stream.length).toBeLessThan(2 * 1.5 * codec.compress(once).length);
    const decoded = codec.decompress(stream, 2 * twice.length);
    expect(sha256(decoded)).toBe(sha256(concatBytes([twice, twice])));
  });

  // The dearest elements: single bytes before short far copies, and literals of 61 bytes before copies of 4.
  test.each([
    [1, 6],
    [61, 1],
  ])("never outgrows its room: literals of %d bytes among short matches", (literal, spread) => {
    const words = noise(400, 7);
    const fresh = randomBytes(1_000_000);
    const pieces = Array.from({ length: 15_000 }, (_, index) => {
      const at = (index * 4) % 390;
      const start = index * literal;
      const word = words.subarray(at, at + 4 + (index % spread));
      return concatBytes([fresh.subarray(start, start + literal), word]);
    });
    const start = literal === 1 ? [words, new Uint8Array(90_000)] : [words];
    const data = concatBytes([...start, ...pieces]);
    expect(sha256(codec.decompress(codec.compress(data), data.length))).toBe(sha256(data));
  });

  test("a checksum that does not agree is corrupt", () => {
    const stream = codec.compress(plaintext);
    stream[15] = (stream[15] ?? 0) ^ 1;
    expectCorrupt(codec, stream, plaintext.length);
  });
});

describe("lz4", () => {
  const codec = codecs.byName("lz4");
  // Two literals and a match of 8 bytes at distance 2, then a stored block; no checksums, blocks of 64 KiB.
  const frame = fromHex(
    "04224d18604082 050000002461620200 0300008078797a 00000000".replaceAll(" ", ""),
  );

  test("is read", () => {
    expect(codec.decompress(frame, 13)).toEqual(utf8("abababababxyz"));
    expectCorrupt(codec, frame, 12);
    expectCorrupt(codec, frame.subarray(0, frame.length - 1), 13);
  });

  test("is never written", () => {
    expect(codec.writable).toBe(false);
    expect(() => codec.compress(plaintext)).toThrow(
      expect.objectContaining({ code: "unsupported" }),
    );
  });

  test("what a hostile length claims is refused before it is copied", () => {
    // 4 MiB of 0xff after a token that begins a match: a thousand million bytes; and a match before the first byte.
    const claim = new Uint8Array(4 * 1024 * 1024).fill(0xff);
    claim.set([0x1f, 0x61, 1, 0]);
    claim[claim.length - 1] = 0;
    for (const block of [claim, Uint8Array.of(0x1f, 0x61, 2, 0, 0)]) {
      const hostile = new Uint8Array(15 + block.length);
      hostile.set([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0]);
      new DataView(hostile.buffer).setUint32(7, block.length, true);
      hostile.set(block, 11);
      expectCorrupt(codec, hostile, 2 ** 30);
    }
  });

  test("damaged frames give bytes or `corrupt`", () => {
    fc.assert(
      fc.property(fc.nat(frame.length - 1), fc.nat(255), (at, value) => {
        const damaged = frame.slice();
        damaged[at] = value;
        expectBounded(codec, damaged, 100);
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

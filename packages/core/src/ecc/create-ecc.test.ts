import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/ecc.json" with { type: "json" };
import { toHex } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { createEcc, eccParameters } from "./create-ecc.ts";

const PERCENTAGES = [1, 2, 5, 20, 50, 100];
const eccs = new Map(Array.from({ length: 100 }, (_, index) => [index + 1, createEcc(index + 1)]));

function eccOf(percent: number): ReturnType<typeof createEcc> {
  return eccs.get(percent) ?? createEcc(percent);
}

function payload(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index % 251);
}

/** `encoded` with one bit wrong in each of these shards, counted as they are stored: parity, then data. */
function flipShards(encoded: Uint8Array, shards: readonly number[], stride: number): Uint8Array {
  const damaged = encoded.slice();
  for (const shard of shards) {
    const at = shard * stride + (shard % stride);
    damaged[at] = (damaged[at] ?? 0) ^ 0x40;
  }
  return damaged;
}

test.each(Object.entries(vectors.parameters))("parameters for %s percent", (percent, expected) => {
  expect(eccParameters(Number(percent))).toEqual(expected);
});

test.each([0, 101, -1, 1.5, Number.NaN])("%d percent is format-unsupported", (percent) => {
  expect(() => createEcc(percent)).toThrow(expect.objectContaining({ code: "format-unsupported" }));
});

test.each(vectors.vectors)(
  "$overheadPercent percent of $payloadLength bytes is what Kopia writes",
  (expected) => {
    const ecc = eccOf(expected.overheadPercent);
    const data = payload(expected.payloadLength);
    const encoded = ecc.encode(data);
    expect(encoded.length).toBe(expected.encodedLength);
    expect(ecc.encodedLength(data.length)).toBe(expected.encodedLength);
    expect(createHash("sha256").update(encoded).digest("hex")).toBe(expected.encodedSha256);
    expect(toHex(ecc.decode(encoded))).toBe(toHex(data));
  },
);

test("every percentage and length comes back, and encodedLength tells the length", () => {
  const run = fc.property(
    fc.integer({ min: 1, max: 100 }),
    fc.oneof(fc.nat(3000), fc.nat(80_000)),
    (percent, length) => {
      const ecc = eccOf(percent);
      const data = payload(length);
      const encoded = ecc.encode(data);
      expect(encoded.length).toBe(ecc.encodedLength(length));
      expect(Buffer.compare(ecc.decode(encoded), data)).toBe(0);
    },
  );
  expect(() => fc.assert(run, { seed: 1, numRuns: 150 })).not.toThrow();
});

describe("damage", () => {
  test.each(PERCENTAGES)(
    "%i percent: as many damaged shards as there is parity are corrected",
    (percent) => {
      const { dataShards, parityShards, maxShardSize } = eccParameters(percent);
      const length = dataShards * Math.min(32, maxShardSize) - 4;
      const data = payload(length);
      const encoded = eccOf(percent).encode(data);
      const shards = dataShards + parityShards;
      const stride = encoded.length / shards;
      const run = fc.property(
        fc.shuffledSubarray(
          Array.from({ length: shards }, (_, i) => i),
          { minLength: parityShards, maxLength: parityShards },
        ),
        (chosen) => {
          const damaged = flipShards(encoded, chosen, stride);
          const before = damaged.slice();
          expect(Buffer.compare(eccOf(percent).decode(damaged), data)).toBe(0);
          expect(Buffer.compare(damaged, before)).toBe(0); // inputs are not changed
        },
      );
      expect(() => fc.assert(run, { seed: 1, numRuns: 20 })).not.toThrow();
    },
  );

  test("small payloads survive any two of eight shards", () => {
    const data = payload(28);
    const encoded = eccOf(2).encode(data);
    for (let first = 0; first < 8; first++) {
      for (let second = 0; second < 8; second++) {
        const damaged = flipShards(
          encoded,
          first === second ? [first] : [first, second],
          encoded.length / 8,
        );
        expect(toHex(eccOf(2).decode(damaged))).toBe(toHex(data));
      }
    }
  });

  test("each of several blocks is corrected by itself, the cut-off last shard as well", () => {
    const ecc = eccOf(10);
    const { dataShards, parityShards, maxShardSize } = eccParameters(10);
    const data = payload(dataShards * maxShardSize * 2 + 100);
    const encoded = ecc.encode(data);
    const stride = 4 + maxShardSize;
    const firstData = 3 * parityShards;
    const damaged = flipShards(
      encoded,
      [firstData, firstData + 5, firstData + dataShards, firstData + 2 * dataShards + 1],
      stride,
    );
    expect(Buffer.compare(ecc.decode(damaged), data)).toBe(0);
  });

  test.each(PERCENTAGES)("%i percent: one damaged shard too many is corrupt", (percent) => {
    const { dataShards, parityShards } = eccParameters(percent);
    const encoded = eccOf(percent).encode(payload(dataShards * 32 - 4));
    const stride = encoded.length / (dataShards + parityShards);
    const chosen = Array.from({ length: parityShards + 1 }, (_, index) => parityShards + index);
    expect(() => eccOf(percent).decode(flipShards(encoded, chosen, stride))).toThrow(
      expect.objectContaining({ code: "corrupt" }),
    );
  });
});

test("a length field beyond the data is corrupt, though every checksum holds", () => {
  // Eight shards of 4 bytes, all zero but the first data shard, which says 2^32-1 under its right checksum.
  const ecc = eccOf(2);
  const encoded = new Uint8Array(64);
  const view = new DataView(encoded.buffer);
  const zeroCrc = 0x2144df1c;
  for (let shard = 0; shard < 8; shard++) {
    view.setUint32(shard * 8, shard === 2 ? 0xffffffff : zeroCrc);
  }
  view.setUint32(20, 0xffffffff);
  expect(() => ecc.decode(encoded)).toThrow(
    expect.objectContaining({ code: "corrupt", message: expect.stringContaining("4294967295") }),
  );
});

test("arbitrary bytes give bytes or corrupt, never more than there could be", () => {
  const run = fc.property(
    fc.constantFrom(...PERCENTAGES),
    fc.uint8Array({ maxLength: 40_000, size: "max" }),
    (percent, bytes) => {
      try {
        return eccOf(percent).decode(bytes).length <= bytes.length;
      } catch (error) {
        return isVarveError(error, "corrupt");
      }
    },
  );
  expect(() => fc.assert(run, { seed: 1, numRuns: 300 })).not.toThrow();
});

test("mutated and cut encodings give the payload, other bytes or corrupt", () => {
  const run = fc.property(
    fc.constantFrom(...PERCENTAGES),
    fc.nat(20_000),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 30 }),
    fc.nat(200),
    (percent, length, changes, cut) => {
      const ecc = eccOf(percent);
      const encoded = ecc.encode(payload(length));
      for (const [at, value] of changes) {
        encoded[at % encoded.length] = value;
      }
      try {
        ecc.decode(encoded.subarray(0, Math.max(0, encoded.length - cut)));
        return true;
      } catch (error) {
        return isVarveError(error, "corrupt");
      }
    },
  );
  expect(() => fc.assert(run, { seed: 1, numRuns: 200 })).not.toThrow();
});

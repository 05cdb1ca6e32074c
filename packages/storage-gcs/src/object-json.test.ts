import { isVarveError } from "@varve/core/blob";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeList, decodeObject, decodeVersioning, mtimeMetadata } from "./object-json.ts";

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const OBJECT = { name: "x", size: "3", timeCreated: "2026-01-02T03:04:05.678901234Z" };

describe("an object", () => {
  test("is read with all that is asked for", () => {
    const object = {
      ...OBJECT,
      generation: "17",
      timeDeleted: "2026-01-02T03:04:06+01:00",
      metadata: { "Kopia-Mtime": "1577934245123456789" },
      retention: { mode: "Locked", retainUntilTime: "2030-01-01T00:00:00Z" },
    };
    expect(decodeObject(encode(object), "stat x")).toEqual({
      name: "x",
      size: 3,
      createdMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      setTimeMs: 1_577_934_245_123,
      deletedMs: Date.UTC(2026, 0, 2, 2, 4, 6),
      generation: "17",
      retainUntilMs: Date.UTC(2030, 0, 1),
    });
  });

  test.each([
    [{ ...OBJECT, name: 1 }],
    [{ ...OBJECT, size: 3 }],
    [{ ...OBJECT, size: "-3" }],
    [{ ...OBJECT, size: "99999999999999999999" }],
    [{ ...OBJECT, timeCreated: "soon" }],
    [{ ...OBJECT, metadata: "x" }],
    [null],
    [[]],
  ])("such as %j is none, and may be asked for again", (value) => {
    expect(() => decodeObject(encode(value), "stat x")).toThrow(
      expect.objectContaining({ code: "storage-failed", retryable: true }),
    );
  });
});

test("a time goes through metadata unchanged, to the millisecond", () => {
  fc.assert(
    fc.property(fc.integer({ min: -9_000_000_000_000, max: 9_000_000_000_000 }), (mtimeMs) => {
      const bytes = encode({ ...OBJECT, metadata: mtimeMetadata(mtimeMs) });
      expect(decodeObject(bytes, "stat x").setTimeMs).toBe(mtimeMs);
    }),
    { seed: 1, numRuns: 200 },
  );
});

test("whatever an answer is, reading it gives a value or storage-failed", () => {
  const readers = [decodeObject, decodeList, decodeVersioning];
  const members = fc.constantFrom("items", "name", "size", "timeCreated", "metadata", "versioning");
  const json = fc.dictionary(members, fc.jsonValue()).map(encode);
  const mutated = fc
    .tuple(fc.nat(), fc.nat(255))
    .map(([at, byte]) => encode({ items: [OBJECT], ...OBJECT }).with(at % 100, byte));
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array(), json, mutated),
      fc.constantFrom(...readers),
      (bytes, read) => {
        try {
          read(bytes, "fuzz");
        } catch (error) {
          expect(isVarveError(error, "storage-failed")).toBe(true);
        }
      },
    ),
    { seed: 1, numRuns: 1000 },
  );
});

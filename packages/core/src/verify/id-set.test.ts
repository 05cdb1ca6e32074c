import * as fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { parseContentId } from "../index/content-id.ts";
import { IdSet } from "./id-set.ts";

const hash = fc
  .tuple(fc.constantFrom(16, 16, 16, 32), fc.integer({ min: 0, max: 40 }))
  .map(([length, value]) => toHex(new Uint8Array(length).fill(value)));
const objectId = fc
  .tuple(fc.constantFrom("", "I", "II", "Z"), fc.constantFrom("", "", "k", "x"), hash)
  .map((parts) => parseObjectId(parts.join("")));

test("is a set, whatever the kinds and lengths of ids", () => {
  fc.assert(
    fc.property(fc.array(objectId, { maxLength: 400 }), fc.array(objectId), (added, others) => {
      const set = new IdSet();
      const reference = new Set<ObjectId>();
      for (const id of added) {
        expect(set.add(id)).toBe(!reference.has(id));
        reference.add(id);
      }
      expect(set.size).toBe(reference.size);
      for (const id of [...added, ...others]) {
        expect(set.has(id)).toBe(reference.has(id));
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});

test("gives contents back by position", () => {
  const texts = ["00112233445566778899aabbccddeeff", "k00112233445566778899aabbccddeeff", "aabb"];
  const set = new IdSet();
  for (const text of texts) {
    set.add(parseContentId(text));
  }
  expect(texts.map((_, position) => set.contentIdAt(position))).toEqual(texts);
});

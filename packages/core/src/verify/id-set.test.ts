import * as fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { type ObjectId, parseObjectId, splitObjectId } from "../object/object-id.ts";
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
      const known = new Map(
        others.slice(0, 20).map((id, ref) => [splitObjectId(id).contentId, ref]),
      );
      const set = new IdSet({ refOf: (id) => known.get(id) ?? -1 });
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

test("gives the contents that the index has by their numbers, and keeps those that it learns of later", () => {
  const refs = new Map([
    ["k00", 7],
    ["bb", 3],
  ]);
  const set = new IdSet({ refOf: (id) => refs.get(id) ?? -1 });
  for (const id of ["k00", "Ik00", "aa", "bb"]) {
    set.add(parseObjectId(id));
  }
  expect([...set.refs()]).toEqual([3, 7]);
  refs.set("aa", 9);
  expect(set.has(parseObjectId("aa"))).toBe(true);
  expect(set.add(parseObjectId("aa"))).toBe(false);
  expect(set.size).toBe(4);
});

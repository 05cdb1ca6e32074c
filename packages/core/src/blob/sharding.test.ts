import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { blobPath, defaultSharding, encodeSharding, parseSharding } from "./sharding.ts";
import { parseBlobId } from "./store.ts";

interface Vector {
  shards: unknown;
  paths: Record<string, string>;
}
const file = new URL("../../test/golden/vectors/sharding.json", import.meta.url);
const VECTORS = JSON.parse(readFileSync(file, "utf8")) as Vector[]; // our own file

test("blobs lie where Kopia puts them", () => {
  for (const { shards, paths } of VECTORS) {
    const sharding = parseSharding(utf8(JSON.stringify(shards)));
    for (const [id, path] of Object.entries(paths)) {
      expect(blobPath(sharding, parseBlobId(id)).join("/")).toBe(path);
    }
  }
});

test("the file of a new store is Kopia's, byte for byte", () => {
  expect(fromUtf8(encodeSharding(defaultSharding({ isNew: true })))).toBe(
    '{"default":[1,3],"maxNonShardedLength":20}\n',
  );
});

test("what is written is what is read", () => {
  const sharding = {
    shards: [4],
    maxNonShardedLength: 0,
    overrides: [{ prefix: "p", shards: [] }],
  };
  expect(parseSharding(encodeSharding(sharding))).toEqual(sharding);
});

test("members may be missing", () => {
  expect(parseSharding(utf8("{}"))).toEqual({ shards: [], maxNonShardedLength: 0, overrides: [] });
});

test.each([
  "",
  "null",
  "[]",
  '{"default":3}',
  '{"default":[0]}',
  '{"default":[-1]}',
  '{"default":["1"]}',
  '{"default":[1.5]}',
  '{"maxNonShardedLength":"20"}',
  '{"overrides":[1]}',
  '{"overrides":[{"prefix":1}]}',
])("%j is corrupt", (text) => {
  expect(() => parseSharding(utf8(text))).toThrow(expect.objectContaining({ code: "corrupt" }));
});

test("no blob leaves the root, whatever the sharding", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 });
  const ids = fc.stringMatching(/^[a.]{1,12}$/);
  fc.assert(
    fc.property(lengths, ids, (shards, text) => {
      try {
        const id = parseBlobId(text);
        const path = blobPath({ shards, maxNonShardedLength: 0, overrides: [] }, id);
        expect(path).not.toContain("..");
        expect(path.join("")).toBe(`${id}.f`);
      } catch (error) {
        expect(isVarveError(error, "invalid-argument")).toBe(true);
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

test("any bytes give a sharding or corrupt", () => {
  const texts = fc.oneof(fc.uint8Array(), fc.json().map(utf8));
  fc.assert(
    fc.property(texts, (bytes) => {
      try {
        parseSharding(bytes);
      } catch (error) {
        expect(isVarveError(error, "corrupt")).toBe(true);
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

import { isVarveError, parseBlobId } from "@varve/core/blob";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseStorageConfig, storageClassOf } from "./storage-classes.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

test("the first rule whose prefix fits says the class, an empty prefix the rest", () => {
  const rules = parseStorageConfig(
    utf8(
      '{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"},{"prefix":"q","storageClass":""},{"storageClass":"STANDARD_IA"}]}',
    ),
  );
  expect(storageClassOf(parseBlobId("p1"), rules)).toBe("GLACIER_IR");
  expect(storageClassOf(parseBlobId("q1"), rules)).toBeUndefined();
  expect(storageClassOf(parseBlobId("kopia.repository"), rules)).toBe("STANDARD_IA");
  expect(storageClassOf(parseBlobId("p1"), parseStorageConfig(utf8("{}")))).toBeUndefined();
});

test.each([
  "",
  "[]",
  "null",
  '{"blobOptions":{}}',
  '{"blobOptions":[1]}',
  '{"blobOptions":[{"prefix":1}]}',
])("%j is corrupt", (text) => {
  expect(() => parseStorageConfig(utf8(text))).toThrow(
    expect.objectContaining({ code: "corrupt" }),
  );
});

test("any bytes are rules or corrupt", () => {
  const texts = fc.oneof(
    fc.uint8Array(),
    fc.json().map(utf8),
    fc.json().map((json) => utf8(`{"blobOptions":[${json}]}`)),
  );
  fc.assert(
    fc.property(texts, (bytes) => {
      try {
        parseStorageConfig(bytes);
      } catch (error) {
        expect(isVarveError(error, "corrupt")).toBe(true);
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

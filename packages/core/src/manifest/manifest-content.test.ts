import * as fc from "fast-check";
import { expect, test } from "vitest";
import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { openCodecs } from "../compression/registry.ts";
import { decodeManifestContent, encodeManifestContent } from "./manifest-content.ts";
import { parseManifestId } from "./manifest-store.ts";

const gzip = (await openCodecs()).byName("gzip");
const what = "manifest content m00";
const decode = (text: string) => decodeManifestContent(gzip.compress(utf8(text)), { gzip, what });

test("manifests and tombstones are written as Kopia writes them", () => {
  const content = encodeManifestContent(
    [
      {
        id: parseManifestId("aa"),
        labels: { type: "policy", path: "/<a>" },
        modifiedNs: 1_700_000_000_000_000_001n,
        deleted: false,
        data: '{"n":12345678901234567890}',
      },
      { id: parseManifestId("bb"), labels: {}, modifiedNs: 0n, deleted: true, data: "null" },
    ],
    { gzip },
  );
  expect(fromUtf8(gzip.decompress(content, 1000))).toBe(
    '{"entries":[{"id":"aa","labels":{"path":"/\\u003ca\\u003e","type":"policy"},"modified":"2023-11-14T22:13:20.000000001Z","data":{"n":12345678901234567890}},' +
      '{"id":"bb","labels":null,"modified":"1970-01-01T00:00:00Z","deleted":true,"data":null}]}\n',
  );
  expect(decodeManifestContent(content, { gzip, what }).map(({ data }) => data)).toEqual([
    '{"n":12345678901234567890}',
    "null",
  ]);
});

test("the payload is kept as it was written", () => {
  const [entry] = decode(
    ' { "Entries" : [ { "data" : 1, "id":"a\\"b", "DATA": {}, "modified":"2024-01-01T00:00:00+01:00", "data" : { "x" : [ 1.0, "}\\\\" ] } , "labels" : {"type":"t"} } ] } ',
  );
  expect(entry?.data).toBe('{ "x" : [ 1.0, "}\\\\" ] }');
  expect(entry?.id).toBe('a"b');
  expect(entry?.modifiedNs).toBe(1_704_063_600_000_000_000n);
});

test("no list of entries is an empty one", () => {
  expect(decode('{"entries":null}')).toEqual([]);
  expect(decode("{}")).toEqual([]);
});

test.each([
  ["text that is no JSON", "{"],
  ["an entry without id", '{"entries":[{"modified":"2024-01-01T00:00:00Z"}]}'],
  ["an empty id", '{"entries":[{"id":"","modified":"2024-01-01T00:00:00Z"}]}'],
  ["an entry without time", '{"entries":[{"id":"a"}]}'],
  [
    "labels that are no text",
    '{"entries":[{"id":"a","modified":"2024-01-01T00:00:00Z","labels":{"a":1}}]}',
  ],
])("%s is corrupt", (_, text) => {
  expect(() => decode(text)).toThrow(expect.objectContaining({ code: "corrupt" }));
});

test("mutated contents give entries or an error with a code", () => {
  const valid = utf8(
    '{"entries":[{"id":"aa","labels":{"type":"x"},"modified":"2024-01-01T00:00:00Z","data":{"a":[1,"b\\"}"]}}]}\n',
  );
  fc.assert(
    fc.property(
      fc.nat(valid.length - 1),
      fc.uint8Array({ maxLength: 3 }),
      fc.nat(3),
      fc.boolean(),
      (at, inserted, removed, compressed) => {
        const json = concatBytes([valid.subarray(0, at), inserted, valid.subarray(at + removed)]);
        try {
          const content = compressed ? gzip.compress(json) : json;
          for (const { data } of decodeManifestContent(content, { gzip, what })) {
            JSON.parse(data);
          }
        } catch (error) {
          expect(isVarveError(error, "corrupt")).toBe(true);
        }
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});

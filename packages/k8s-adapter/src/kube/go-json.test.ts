import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeJson, encodeJson } from "./go-json.ts";

test("integers keep all their digits", () => {
  const text = '{"big":12345678901234567890,"neg":-9007199254740993,"ok":9007199254740991,"x":1.5}';
  expect(encodeJson(decodeJson(text))).toBe(text);
});

test("keys are sorted, and what HTML cares about is escaped", () => {
  expect(encodeJson({ b: 1, a: "<a>&\u2028", c: undefined })).toBe(
    '{"a":"\\u003ca\\u003e\\u0026\\u2028","b":1}',
  );
});

test("with an indent it looks as Go's does", () => {
  expect(encodeJson({ b: [], a: { x: [1, { y: null }] }, c: {} }, { indent: 2 })).toBe(
    '{\n  "a": {\n    "x": [\n      1,\n      {\n        "y": null\n      }\n    ]\n  },\n  "b": [],\n  "c": {}\n}',
  );
});

test("any value comes back", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      const text = encodeJson(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(encodeJson(decodeJson(text))).toBe(text);
    }),
    { seed: 1, numRuns: 200 },
  );
});

import fc from "fast-check";
import { VarveError } from "@varve/core";
import { expect, test } from "vitest";
import { type Digest, digestOf, parseManifest, verified } from "./image-manifest.ts";

const digest = `sha256:${"a".repeat(64)}`;
const descriptor = (more: object = {}): object => ({ digest, size: 3, ...more });
const image = (more: object = {}): object => ({
  schemaVersion: 2,
  config: descriptor(),
  layers: [descriptor()],
  ...more,
});

function parse(value: unknown): ReturnType<typeof parseManifest> {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return parseManifest(bytes, digestOf(bytes));
}

test("a manifest names its config and layers, but those that are had elsewhere", () => {
  const foreign = descriptor({ urls: ["https://layers.test/"] });
  expect(parse(image({ layers: [descriptor(), foreign] }))).toMatchObject({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    blobs: [
      { digest, size: 3 },
      { digest, size: 3 },
    ],
    manifests: [],
  });
  const mediaType = "application/vnd.docker.distribution.manifest.list.v2+json";
  expect(parse({ mediaType, manifests: [descriptor()] })).toMatchObject({
    mediaType,
    blobs: [],
    manifests: [{ digest, size: 3 }],
  });
});

test.each([
  ["of schema 1", { schemaVersion: 1, fsLayers: [] }, "unsupported"],
  ["that is an image and an index", image({ manifests: [] }), "unsupported"],
  ["of another type", image({ mediaType: "application/json" }), "unsupported"],
  ["that is null", null, "unsupported"],
  ["without a config", { schemaVersion: 2, layers: [] }, "corrupt"],
  ["with another digest", image({ config: descriptor({ digest: "sha256:../../x" }) }), "corrupt"],
  ["with no size", image({ layers: [{ digest }] }), "corrupt"],
  ["with a size below zero", image({ layers: [descriptor({ size: -1 })] }), "corrupt"],
  ["with a size beyond bounds", image({ layers: [descriptor({ size: 2 ** 50 })] }), "corrupt"],
  ["with layers that are no list", image({ layers: {} }), "corrupt"],
  ["with too many layers", image({ layers: Array(5000).fill(descriptor()) }), "corrupt"],
])("a manifest %s is refused", (_, value, code) => {
  expect(() => parse(value)).toThrow(expect.objectContaining({ code }));
});

test("bytes that have another digest are refused", () => {
  const bytes = new TextEncoder().encode(JSON.stringify(image()));
  expect(() => parseManifest(bytes, digest as Digest)).toThrow(
    expect.objectContaining({ code: "corrupt" }),
  );
});

test("any bytes give a manifest or an error with a code", () => {
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc
      .record({
        config: fc.jsonValue(),
        layers: fc.array(fc.jsonValue()),
        manifests: fc.jsonValue(),
      })
      .map((each) => new TextEncoder().encode(JSON.stringify(each))),
  );
  fc.assert(
    fc.property(value, (bytes) => {
      try {
        expect(parseManifest(bytes, digestOf(bytes)).bytes).toBe(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(VarveError);
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

const BYTES = Uint8Array.of(1, 2, 3, 4);

test.each([
  ["its own", BYTES, 4, undefined],
  ["fewer", BYTES.subarray(1), 4, "corrupt"],
  ["more", Uint8Array.of(...BYTES, 5), 4, "corrupt"],
  ["others", Uint8Array.of(1, 2, 3, 5), 4, "corrupt"],
  ["of another size", BYTES, 5, "corrupt"],
])("a blob of bytes that are %s", async (_, bytes, size, code) => {
  const read = async (): Promise<number> => {
    let seen = 0;
    const chunks = (async function* () {
      yield bytes.subarray(0, 2);
      yield bytes.subarray(2);
    })();
    for await (const chunk of verified(chunks, { digest: digestOf(BYTES), size })) {
      seen += chunk.length;
    }
    return seen;
  };
  await (code === undefined
    ? expect(read()).resolves.toBe(4)
    : expect(read()).rejects.toMatchObject({ code }));
});

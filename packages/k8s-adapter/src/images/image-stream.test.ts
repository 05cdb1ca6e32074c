import fc from "fast-check";
import { expect, test } from "vitest";
import { imagesOf, type ImageStream, redirectTags, registryHost } from "./image-stream.ts";

const HOST = "registry.test:5000";
const [A, B, C] = ["a", "b", "c"].map((letter) => `sha256:${letter.repeat(64)}`);

function streamOf(tags: object[], specTags: object[] = []): ImageStream {
  return {
    metadata: { name: "web", namespace: "shop" },
    spec: { tags: specTags },
    status: { dockerImageRepository: `${HOST}/shop/web`, tags },
  };
}

const item = (image: string | undefined, repository = `${HOST}/shop/web`): object => ({
  image,
  dockerImageReference: `${repository}@${image}`,
});

test("images of the cluster's own registry come oldest first, the last with the tag", () => {
  const stream = streamOf([
    { tag: "latest", items: [item(C), item(B, "docker.test/x/y"), item(A)] },
  ]);
  expect(registryHost(stream)).toBe(HOST);
  const repository = "shop/web";
  expect(imagesOf(stream, HOST)).toEqual([
    { repository, digest: A, tag: undefined, isCurrent: false },
    { repository, digest: C, tag: "latest", isCurrent: true },
  ]);
});

test.each([
  ["nothing", undefined, "latest"],
  ["an image of the same stream", { kind: "ImageStreamImage", name: `web@${A}` }, "latest"],
  [
    "an image of another namespace",
    { kind: "ImageStreamImage", name: "w", namespace: "o" },
    undefined,
  ],
  ["another tag", { kind: "ImageStreamTag", name: "web:x" }, undefined],
  ["an image by name", { kind: "DockerImage", name: `${HOST}/shop/web@${A}` }, undefined],
])("a tag that the spec makes from %s", (_, from, tag) => {
  const spec = from === undefined ? [] : [{ name: "latest", from }];
  const stream = streamOf([{ tag: "latest", items: [item(A)] }], spec);
  expect(imagesOf(stream, HOST)).toMatchObject([{ digest: A, tag }]);
});

test("what a tag is made from follows the namespaces and the registry", () => {
  const tags = [
    { name: "own", from: { kind: "DockerImage", name: `${HOST}/shop/web@${A}` } },
    { name: "public", from: { kind: "DockerImage", name: "docker.test/library/web:1" } },
    { name: "base", from: { kind: "ImageStreamTag", name: "base:1", namespace: "shop" } },
    { name: "pushed", from: { kind: "ImageStreamImage", name: `web@${A}` } },
  ];
  const stream = streamOf([], tags);
  redirectTags(stream, { fromHost: HOST, toHost: "new.test", mapping: { shop: "shop-2" } });
  expect(stream.spec?.tags).toEqual([
    { name: "own", from: { kind: "DockerImage", name: `new.test/shop-2/web@${A}` } },
    { name: "public", from: { kind: "DockerImage", name: "docker.test/library/web:1" } },
    { name: "base", from: { kind: "ImageStreamTag", name: "base:1", namespace: "shop-2" } },
  ]);
});

test("names that lead elsewhere are no images", () => {
  const paths = ["../../x", "shop/..", "shop/web/x", "/web", "shop/w%2e", "SHOP/web", "shop/web?x"];
  const items = paths.map((path) => item(A, `${HOST}/${path}`));
  expect(imagesOf(streamOf([{ tag: "latest", items }]), HOST)).toEqual([]);
  const tag = imagesOf(streamOf([{ tag: "../up", items: [item(A)] }]), HOST);
  expect(tag).toMatchObject([{ tag: undefined }]);
  expect(
    registryHost({ metadata: { name: "x" }, status: { dockerImageRepository: "a@b/c/d" } }),
  ).toBe(undefined);
});

test("a stream from a backup can hold anything", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (tags, items) => {
      const status = {
        dockerImageRepository: `${HOST}/shop/web`,
        tags: [tags, { tag: "x", items }],
      };
      const stream = {
        metadata: { name: "web" },
        spec: { tags },
        status,
      } as unknown as ImageStream;
      expect(imagesOf(stream, HOST)).toEqual([]);
    }),
    { seed: 1, numRuns: 300 },
  );
});

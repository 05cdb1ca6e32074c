import { createHash, randomBytes } from "node:crypto";
import { systemEnvironment } from "@varve/core";
import { type Bucket, parseBlobId } from "@varve/core/blob";
import { openS3Bucket } from "@varve/storage-s3";
import { createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { startRegistry, type TestRegistry } from "@varve/testenv/registry.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Descriptor,
  type Digest,
  digestOf,
  parseManifest,
} from "../../src/images/image-manifest.ts";
import { Registry } from "../../src/images/registry.ts";
import { type Backup, type Restore, VELERO } from "../../src/velero/resources.ts";
import { apply, k, startTestServer, type TestServer } from "./server.ts";

/**
 * Images of streams, between two registries that know who may come in, by way of a bucket that a third one serves. The
 * cluster is no OpenShift: image streams are a type of custom resources here, which nobody looks after.
 */

const TOKEN = "of-the-service-account";
const SOURCE_HOST = "registry.source.test:5000";
const TARGET_HOST = "registry.target.test:5000";
// More than a part of an upload to the bucket has.
const BASE_BYTES = 20 << 20;
const DEFINITIONS = ["imagestreams.image.openshift.io", "images.config.openshift.io"];
const environment = systemEnvironment();

let own: Namespace;
let server: TestServer;
let source: TestRegistry;
let target: TestRegistry;
let peer: TestRegistry;
let bucket: Bucket;

beforeAll(async () => {
  await apply(
    definition("image.openshift.io", "ImageStream", "Namespaced"),
    definition("config.openshift.io", "Image", "Cluster"),
  );
  const established = ["--for=condition=Established", "--timeout=60s"];
  await k("wait", "crd", ...DEFINITIONS, ...established);
  [source, target] = await Promise.all([
    startRegistry({ token: TOKEN }),
    startRegistry({ token: TOKEN }),
  ]);
  own = await createNamespace("images-server");
  server = await startTestServer({ namespace: own.name, more: { images: access(source) } });
  const { s3, bucket: name } = server;
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const account = { endpoint, region, accessKeyId, secretAccessKey, bucket: name };
  peer = await startRegistry({ s3: account });
  bucket = await openS3Bucket({
    ...{ endpoint, region, bucket: name, forcePathStyle: true },
    credentials: { kind: "keys", accessKeyId, secretAccessKey },
  });
});
afterAll(async () => {
  await bucket?.[Symbol.asyncDispose]();
  await peer?.stop();
  await server?.[Symbol.asyncDispose]();
  await source?.stop();
  await target?.stop();
  await own?.[Symbol.asyncDispose]();
  await k("delete", "crd", ...DEFINITIONS);
});

const access = ({ url, ca }: TestRegistry) => ({
  registryUrl: url,
  ca,
  token: () => Promise.resolve(TOKEN),
});

const open = ({ url, ca }: TestRegistry): Registry =>
  new Registry({ url, ca, token: () => Promise.resolve(TOKEN) }, environment);

function definition(group: string, kind: string, scope: string): object {
  const plural = `${kind.toLowerCase()}s`;
  const openAPIV3Schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema } }],
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function pushBlob(registry: Registry, name: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = { digest: digestOf(bytes), size: bytes.length };
  await registry.putBlob(name, descriptor, once(bytes), {});
  return descriptor;
}

async function pushManifest(registry: Registry, name: string, value: object): Promise<Digest> {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const digest = digestOf(bytes);
  await registry.putManifest(name, digest, parseManifest(bytes, digest), {});
  return digest;
}

interface Pushed {
  readonly first: Digest;
  readonly second: Digest;
  readonly index: Digest;
  readonly base: Descriptor;
  readonly digests: ReadonlySet<Digest>;
}

/** Two images on the same base, and an index of both. */
async function pushImages(repository: string): Promise<Pushed> {
  using registry = open(source);
  const base = await pushBlob(registry, repository, randomBytes(BASE_BYTES));
  const digests = new Set([base.digest]);
  const image = async (arch: string): Promise<Digest> => {
    const config = await pushBlob(registry, repository, Buffer.from(JSON.stringify({ arch })));
    const layer = await pushBlob(registry, repository, randomBytes(10_000));
    const digest = await pushManifest(registry, repository, {
      schemaVersion: 2,
      mediaType: "application/vnd.docker.distribution.manifest.v2+json",
      config: { mediaType: "application/vnd.docker.container.image.v1+json", ...config },
      layers: [base, layer].map((each) => ({
        mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ...each,
      })),
    });
    for (const each of [config.digest, layer.digest, digest]) {
      digests.add(each);
    }
    return digest;
  };
  const [first, second] = [await image("amd64"), await image("arm64")];
  const manifests = await Promise.all(
    [first, second].map(async (digest) => {
      const { mediaType, bytes } = await registry.manifest(repository, digest, {});
      return { mediaType, digest, size: bytes.length };
    }),
  );
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const index = await pushManifest(registry, repository, {
    schemaVersion: 2,
    mediaType,
    manifests,
  });
  return { first, second, index, base, digests: digests.add(index) };
}

function stream(namespace: string, { first, second, index }: Pushed): object {
  const repository = `${SOURCE_HOST}/${namespace}/shop`;
  const items = (...digests: readonly string[]) =>
    digests.map((image) => ({ image, dockerImageReference: `${repository}@${image}` }));
  const gone = `sha256:${"0".repeat(64)}`;
  return {
    apiVersion: "image.openshift.io/v1",
    kind: "ImageStream",
    metadata: { name: "shop", namespace, labels: { app: "shop" } },
    spec: {
      tags: [{ name: "pinned", from: { kind: "DockerImage", name: `${repository}@${first}` } }],
    },
    status: {
      dockerImageRepository: repository,
      tags: [
        { tag: "latest", items: items(second, first) },
        { tag: "multi", items: items(index, gone) },
        { tag: "pinned", items: items(first) },
        {
          tag: "foreign",
          items: [{ image: gone, dockerImageReference: `elsewhere.test/x/y@${gone}` }],
        },
      ],
    },
  };
}

async function backUp(name: string, spec: object): Promise<Backup> {
  const backup = { kind: "Backup", metadata: { name }, spec };
  return (await server.run(VELERO.backups, backup)) as Backup;
}

async function restore(
  name: string,
  backupName: string,
  from: string,
  to: string,
): Promise<Restore> {
  const spec = { backupName, namespaceMapping: { [from]: to } };
  return (await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name },
    spec,
  })) as Restore;
}

const storedBlobs = async (): Promise<string[]> => {
  const names: string[] = [];
  for await (const pair of bucket.folders("docker/registry/v2/blobs/sha256/")) {
    for await (const hex of bucket.folders(`docker/registry/v2/blobs/sha256/${pair}/`)) {
      names.push(`sha256:${hex}`);
    }
  }
  return names.toSorted();
};

const blobStore = (digest: Digest) => {
  const hex = digest.slice("sha256:".length);
  return bucket.store(`docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/`);
};

/** As any client gets it from the registry over the bucket. */
async function pulled(path: string): Promise<Uint8Array> {
  const accept =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json";
  const response = await fetch(`${peer.url}/v2/${path}`, { headers: { accept } });
  expect(response.status, path).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
}

test("claim 1: images of streams are stored once, an OCI client pulls them from the bucket, and a restore pushes them", async () => {
  await using app = await createNamespace("images-app");
  const repository = `${app.name}/shop`;
  const pushed = await pushImages(repository);
  await apply(stream(app.name, pushed));

  const includedNamespaces = [app.name];
  const backup = await backUp("with-images", { includedNamespaces });
  expect(backup.status).toMatchObject({ phase: "Completed", warnings: 1 });
  expect(await storedBlobs()).toEqual([...pushed.digests].toSorted());
  for (const [tag, digest] of [
    ["latest", pushed.second],
    ["multi", pushed.index],
  ] as const) {
    expect(digestOf(await pulled(`${repository}/manifests/${tag}`))).toBe(digest);
  }
  expect(digestOf(await pulled(`${repository}/manifests/${pushed.first}`))).toBe(pushed.first);
  const base = await pulled(`${repository}/blobs/${pushed.base.digest}`);
  expect(createHash("sha256").update(base).digest("hex")).toBe(pushed.base.digest.slice(7));
  const tags: unknown = JSON.parse(Buffer.from(await pulled(`${repository}/tags/list`)).toString());
  expect(tags).toEqual({ name: repository, tags: ["latest", "multi"] });

  // What is there is not written again.
  const before = await blobStore(pushed.base.digest).stat(parseBlobId("data"));
  await backUp("again", { includedNamespaces });
  expect(await storedBlobs()).toEqual([...pushed.digests].toSorted());
  expect(await blobStore(pushed.base.digest).stat(parseBlobId("data"))).toEqual(before);

  await apply({
    apiVersion: "config.openshift.io/v1",
    kind: "Image",
    metadata: { name: "cluster" },
    status: { internalRegistryHostname: TARGET_HOST },
  });
  await server.restart({ images: access(target) });
  await using other = await createNamespace("images-other");
  const done = await restore("with-images", "with-images", app.name, other.name);
  expect(done.status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
  const tag = "jsonpath={.metadata.labels.app} {.spec.tags[0].from.name}";
  const name = `${TARGET_HOST}/${other.name}/shop@${pushed.first}`;
  expect(await k("get", "imagestream/shop", "-n", other.name, "-o", tag)).toBe(`shop ${name}`);
  using registry = open(target);
  const restored = `${other.name}/shop`;
  expect(await registry.resolve(restored, "latest", {})).toBe(pushed.second);
  expect(await registry.resolve(restored, "multi", {})).toBe(pushed.index);
  expect(await registry.resolve(restored, pushed.first, {})).toBe(pushed.first);
  let size = 0;
  for await (const chunk of registry.blob(restored, pushed.base, {})) {
    size += chunk.length; // checked against its digest on the way
  }
  expect(size).toBe(BASE_BYTES);

  // From the repository beside it, without a byte of it.
  const nothing = (async function* (): AsyncGenerator<Uint8Array> {})();
  await registry.putBlob("mounted/shop", pushed.base, nothing, { from: restored });
  expect(await registry.hasBlob("mounted/shop", pushed.base, {})).toBe(true);

  // What has been changed in the bucket does not come back.
  await blobStore(pushed.base.digest).put(parseBlobId("data"), [new Uint8Array(BASE_BYTES)]);
  await using third = await createNamespace("images-third");
  const bad = await restore("changed", "with-images", app.name, third.name);
  expect(bad.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
  expect(await registry.resolve(`${third.name}/shop`, "latest", {})).toBeUndefined();
});

test("claim 1: without a prefix images are not stored, and a registry that wants another token is an error", async () => {
  await using app = await createNamespace("images-none");
  await server.s3.createBucket("flat");
  const { endpoint: s3Url } = server.s3;
  await apply({
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { name: "flat", namespace: own.name },
    spec: {
      provider: "aws",
      objectStorage: { bucket: "flat" },
      config: { region: "us-east-1", s3Url, s3ForcePathStyle: "true" },
    },
  });
  const pushed = await pushImages(`${app.name}/shop`);
  await apply(stream(app.name, pushed));
  const wrong = { ...access(source), token: () => Promise.resolve("another") };
  await server.restart({ images: wrong });
  const includedNamespaces = [app.name];
  const refused = await backUp("refused", { includedNamespaces });
  expect(refused.status).toMatchObject({ phase: "PartiallyFailed" });
  const available = "--for=jsonpath={.status.phase}=Available";
  await k("wait", "-n", own.name, "bsl/flat", available, "--timeout=60s");
  const flat = await backUp("flat", { includedNamespaces, storageLocation: "flat" });
  expect(flat.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
  const metadata = { name: "none", annotations: { "openshift.io/skip-image-copy": "true" } };
  const skipped = { kind: "Backup", metadata, spec: { includedNamespaces } };
  const done = await server.run(VELERO.backups, skipped);
  expect(done["status"]).toMatchObject({ phase: "Completed" });
});

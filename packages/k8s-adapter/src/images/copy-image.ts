import { type CallOptions, type Environment, VarveError } from "@varve/core";
import { withRetries } from "@varve/core/blob";
import { type Descriptor, type Digest, type ImageManifest, verified } from "./image-manifest.ts";
import type { ImageStore } from "./image-store.ts";
import type { Registry } from "./registry.ts";

/** One image with all that it is made of, from a registry into a bucket or back (spec section 10.2). What is there already is not copied. */

export interface ImageCopy {
  readonly registry: Registry;
  /** `namespace/stream` in the registry. */
  readonly registryRepository: string;
  readonly store: ImageStore;
  /** `namespace/stream` in the bucket. */
  readonly storeRepository: string;
  readonly digest: Digest;
  /** Undefined: it has its digest only. */
  readonly tag: string | undefined;
  readonly environment: Environment;
}

// As often as OADP's plug-in.
const ATTEMPTS = 7;
// An index names images; what names indexes is none.
const MAX_DEPTH = 1;

/** Throws `blob-not-found` when the registry does not have it, and what cannot be mended by trying again. */
export async function saveImage(copy: ImageCopy, options: CallOptions): Promise<void> {
  await patiently(copy, options, async () => {
    const { store, storeRepository, digest, tag } = copy;
    if (!(await store.hasManifest(storeRepository, digest, options))) {
      await saveManifest(copy, digest, options);
    }
    if (tag !== undefined) {
      await store.tag(storeRepository, { tag, digest }, options);
    }
  });
}

async function saveManifest(
  copy: ImageCopy,
  digest: Digest,
  { depth = 0, ...options }: CallOptions & { readonly depth?: number },
): Promise<void> {
  const { registry, registryRepository, store, storeRepository } = copy;
  const manifest = await registry.manifest(registryRepository, digest, options);
  checkDepth(manifest, depth);
  for (const each of manifest.manifests) {
    await saveManifest(copy, each.digest, { ...options, depth: depth + 1 });
  }
  for (const blob of unique(manifest.blobs)) {
    if (!(await store.hasBlob(blob, options))) {
      await store.putBlob(blob, registry.blob(registryRepository, blob, options), options);
    }
    await store.linkBlob(storeRepository, blob.digest, options);
  }
  await store.putManifest(storeRepository, digest, manifest, options);
}

/** Throws `blob-not-found` when the bucket does not have it. */
export async function loadImage(copy: ImageCopy, options: CallOptions): Promise<void> {
  await patiently(copy, options, async () => {
    const { registry, registryRepository, store, storeRepository, digest, tag } = copy;
    const there = await registry.resolve(registryRepository, tag ?? digest, options);
    if (there === digest) {
      return;
    }
    await loadManifest(copy, digest, options);
    if (tag !== undefined) {
      const manifest = await store.manifest(storeRepository, digest, options);
      await registry.putManifest(registryRepository, tag, manifest, options);
    }
  });
}

async function loadManifest(
  copy: ImageCopy,
  digest: Digest,
  { depth = 0, ...options }: CallOptions & { readonly depth?: number },
): Promise<void> {
  const { registry, registryRepository, store, storeRepository } = copy;
  const manifest = await store.manifest(storeRepository, digest, options);
  checkDepth(manifest, depth);
  for (const each of manifest.manifests) {
    await loadManifest(copy, each.digest, { ...options, depth: depth + 1 });
  }
  for (const blob of unique(manifest.blobs)) {
    if (!(await registry.hasBlob(registryRepository, blob, options))) {
      const chunks = verified(store.blob(blob, options), blob);
      const from = storeRepository === registryRepository ? undefined : storeRepository;
      await registry.putBlob(registryRepository, blob, chunks, { ...options, from });
    }
  }
  await registry.putManifest(registryRepository, digest, manifest, options);
}

async function patiently(
  { digest, environment }: ImageCopy,
  { signal }: CallOptions,
  work: () => Promise<void>,
): Promise<void> {
  const options = { environment, attempts: ATTEMPTS, signal };
  await withRetries(`copy image ${digest}`, options, work);
}

function checkDepth({ manifests }: ImageManifest, depth: number): void {
  if (manifests.length > 0 && depth >= MAX_DEPTH) {
    throw new VarveError("unsupported", "an index of indexes of images is not copied");
  }
}

function unique(blobs: readonly Descriptor[]): readonly Descriptor[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

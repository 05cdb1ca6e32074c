import { type CallOptions, isVarveError, VarveError } from "@varve/core";
import { type Bucket, parseBlobId } from "@varve/core/blob";
import {
  type Descriptor,
  type Digest,
  type ImageManifest,
  MAX_MANIFEST_BYTES,
  parseManifest,
} from "./image-manifest.ts";

/**
 * Images in a bucket as the Distribution registry lays them out (spec section 10.2), so that a registry over the same
 * bucket serves them. Blobs are there once for all repositories; what names them is written after them, so that
 * nothing ever names what is not there. All of it is hostile when it is read.
 */

const ROOT = "docker/registry/v2/";
const PART_BYTES = 8_388_608;

export class ImageStore {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  async hasBlob({ digest, size }: Descriptor, { signal }: CallOptions): Promise<boolean> {
    const found = await this.#stat(blobFolder(digest), "data", { signal });
    return found?.size === size;
  }

  /** Chunks that throw at their end when they are not what the digest says. */
  async putBlob(
    { digest }: Descriptor,
    chunks: AsyncIterable<Uint8Array>,
    { signal }: CallOptions,
  ): Promise<void> {
    await this.#bucket.upload(`${blobFolder(digest)}data`, chunks, { signal });
  }

  /** Throws `blob-not-found`; what it gives is not checked. */
  async *blob({ digest, size }: Descriptor, { signal }: CallOptions): AsyncGenerator<Uint8Array> {
    const store = this.#bucket.store(blobFolder(digest));
    const id = parseBlobId("data");
    const { size: stored } = await store.stat(id, { signal });
    if (stored !== size) {
      throw new VarveError("corrupt", `blob ${digest}: ${stored} bytes in place of ${size}`);
    }
    for (let offset = 0; offset < size; offset += PART_BYTES) {
      const length = Math.min(PART_BYTES, size - offset);
      yield await store.get(id, { range: { offset, length }, signal });
    }
  }

  /** Says that a repository has this blob. */
  async linkBlob(repository: string, digest: Digest, options: CallOptions): Promise<void> {
    await this.#link(`${layersFolder(repository)}${pathOf(digest)}/`, digest, options);
  }

  async hasManifest(repository: string, digest: Digest, options: CallOptions): Promise<boolean> {
    const link = await this.#stat(revisionFolder(repository, digest), "link", options);
    return (
      link !== undefined && (await this.#stat(blobFolder(digest), "data", options)) !== undefined
    );
  }

  /** After its blobs, or the images that it names. */
  async putManifest(
    repository: string,
    digest: Digest,
    { bytes }: ImageManifest,
    { signal }: CallOptions,
  ): Promise<void> {
    await this.#bucket.store(blobFolder(digest)).put(parseBlobId("data"), [bytes], { signal });
    await this.#link(revisionFolder(repository, digest), digest, { signal });
  }

  /** Throws `blob-not-found`, `corrupt`, `unsupported`. */
  async manifest(
    repository: string,
    digest: Digest,
    { signal }: CallOptions,
  ): Promise<ImageManifest> {
    await this.#bucket
      .store(revisionFolder(repository, digest))
      .stat(parseBlobId("link"), { signal });
    const store = this.#bucket.store(blobFolder(digest));
    const { size } = await store.stat(parseBlobId("data"), { signal });
    if (size > MAX_MANIFEST_BYTES) {
      throw new VarveError("corrupt", `manifest ${digest}: ${size} bytes are too many`);
    }
    return parseManifest(await store.get(parseBlobId("data"), { signal }), digest);
  }

  async tag(
    repository: string,
    { tag, digest }: { readonly tag: string; readonly digest: Digest },
    options: CallOptions,
  ): Promise<void> {
    const folder = `${repositoryFolder(repository)}_manifests/tags/${tag}/`;
    await this.#link(`${folder}index/${pathOf(digest)}/`, digest, options);
    await this.#link(`${folder}current/`, digest, options);
  }

  async #link(folder: string, digest: Digest, { signal }: CallOptions): Promise<void> {
    const bytes = new TextEncoder().encode(digest);
    await this.#bucket.store(folder).put(parseBlobId("link"), [bytes], { signal });
  }

  async #stat(
    folder: string,
    name: string,
    { signal }: CallOptions,
  ): Promise<{ readonly size: number } | undefined> {
    try {
      return await this.#bucket.store(folder).stat(parseBlobId(name), { signal });
    } catch (error) {
      if (isVarveError(error, "blob-not-found")) {
        return undefined;
      }
      throw error;
    }
  }
}

function blobFolder(digest: Digest): string {
  const hex = digest.slice("sha256:".length);
  return `${ROOT}blobs/sha256/${hex.slice(0, 2)}/${hex}/`;
}

/** `repository`: names of Kubernetes, which are safe. */
function repositoryFolder(repository: string): string {
  return `${ROOT}repositories/${repository}/`;
}

function layersFolder(repository: string): string {
  return `${repositoryFolder(repository)}_layers/`;
}

function revisionFolder(repository: string, digest: Digest): string {
  return `${repositoryFolder(repository)}_manifests/revisions/${pathOf(digest)}/`;
}

function pathOf(digest: Digest): string {
  return digest.replace(":", "/");
}

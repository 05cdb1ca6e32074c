import { createHash } from "node:crypto";
import { VarveError } from "@varve/core";

/**
 * Manifests of images, as Docker and the OCI write them, and what they name. They come from a registry or a bucket, and are
 * believed when their digest is right, and no further: sizes and counts are bounded.
 */

/** `sha256:` and 64 hexadecimal digits. */
export type Digest = `sha256:${string}`;

/** Something that a manifest names. */
export interface Descriptor {
  readonly digest: Digest;
  readonly size: number;
}

export interface ImageManifest {
  readonly mediaType: string;
  /** Exactly as they were given. */
  readonly bytes: Uint8Array;
  /** Config and layers, for the manifest of one image. */
  readonly blobs: readonly Descriptor[];
  /** Of the images of an index. */
  readonly manifests: readonly Descriptor[];
}

export const MAX_MANIFEST_BYTES = 4_194_304;
const MAX_BLOB_BYTES = 128 * 2 ** 30;
const MAX_ENTRIES = 4096;

const DOCKER = "application/vnd.docker.distribution.manifest";
const OCI = "application/vnd.oci.image";
const INDEXES = [`${OCI}.index.v1+json`, `${DOCKER}.list.v2+json`];
const IMAGES = [`${OCI}.manifest.v1+json`, `${DOCKER}.v2+json`];
export const MANIFEST_TYPES: readonly string[] = [...IMAGES, ...INDEXES];

/** Undefined when it is none of ours. */
export function parseDigest(text: unknown): Digest | undefined {
  return typeof text === "string" && /^sha256:[0-9a-f]{64}$/.test(text)
    ? (text as Digest) // the check is the definition
    : undefined;
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Throws `corrupt` for what has another digest or is no manifest, `unsupported` for types that are not copied. */
export function parseManifest(bytes: Uint8Array, digest: Digest): ImageManifest {
  if (bytes.length > MAX_MANIFEST_BYTES || digestOf(bytes) !== digest) {
    throw new VarveError("corrupt", `manifest ${digest}: its bytes have another digest`);
  }
  const value = recordOf(parse(bytes, digest));
  const isIndex = Array.isArray(value["manifests"]);
  if (isIndex === ("layers" in value || "config" in value)) {
    const type = JSON.stringify(value["mediaType"] ?? value["schemaVersion"] ?? null);
    throw new VarveError(
      "unsupported",
      `manifest ${digest}: images of type ${type} are not copied`,
    );
  }
  const [types, fallback] = isIndex ? [INDEXES, INDEXES[0]] : [IMAGES, IMAGES[0]];
  const mediaType = value["mediaType"] ?? fallback;
  if (typeof mediaType !== "string" || !types.includes(mediaType)) {
    const type = JSON.stringify(mediaType);
    throw new VarveError(
      "unsupported",
      `manifest ${digest}: images of type ${type} are not copied`,
    );
  }
  if (isIndex) {
    return { mediaType, bytes, blobs: [], manifests: descriptors(value["manifests"], digest) };
  }
  const config = descriptors([value["config"]], digest);
  const layers = descriptors(value["layers"], digest);
  return { mediaType, bytes, blobs: [...config, ...layers], manifests: [] };
}

/** Layers that are to be had elsewhere, as those of Windows, are left there. */
function descriptors(value: unknown, manifest: Digest): Descriptor[] {
  if (!Array.isArray(value) || value.length > MAX_ENTRIES) {
    throw new VarveError("corrupt", `manifest ${manifest}: not a list of descriptors`);
  }
  return value.flatMap((entry: unknown) => {
    const { digest: text, size, urls } = recordOf(entry);
    const digest = parseDigest(text);
    if (digest === undefined || !isSize(size)) {
      throw new VarveError("corrupt", `manifest ${manifest}: not a descriptor`);
    }
    return Array.isArray(urls) && urls.length > 0 ? [] : [{ digest, size }];
  });
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= MAX_BLOB_BYTES;
}

function parse(bytes: Uint8Array, digest: Digest): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new VarveError("corrupt", `manifest ${digest}: not JSON`, { cause });
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>) // an object is one
    : {};
}

/** The same bytes. Throws `corrupt` as soon as there are more of them than `size`, or at the end when their digest is another. */
export async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  { digest, size }: Descriptor,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let seen = 0;
  for await (const chunk of chunks) {
    seen += chunk.length;
    if (seen > size) {
      throw new VarveError("corrupt", `blob ${digest}: more than its ${size} bytes`);
    }
    hash.update(chunk);
    yield chunk;
  }
  if (seen !== size || `sha256:${hash.digest("hex")}` !== digest) {
    throw new VarveError("corrupt", `blob ${digest}: ${seen} of ${size} bytes, or other bytes`);
  }
}

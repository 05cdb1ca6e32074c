import type { CallOptions } from "../base/environment.ts";
import type { BlobId, BlobInfo } from "../blob/store.ts";
import { parseEpochBlobName } from "../epoch/epoch-names.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { openBlob } from "../format/sealed-blob.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { parseIndex } from "../index/index-file.ts";
import type { Repository } from "./repository.ts";
import { repositorySealer } from "./repository-sealer.ts";

/** Single blobs of an open repository, for people who look into one. Nothing else reads an index blob by itself. */

export interface IndexBlobInfo extends BlobInfo {
  /** False for one that a compaction has replaced and that is about to be deleted. */
  readonly active: boolean;
}

/** All index blobs in storage, oldest first, and the epoch that is written to now (0 without epochs). */
export async function listIndexBlobs(
  repository: Repository,
  { signal }: CallOptions = {},
): Promise<{ readonly blobs: readonly IndexBlobInfo[]; readonly writeEpoch: number }> {
  const { blobs: store, format, environment } = repository;
  const sealer = await repositorySealer(repository);
  const indexBlobs = createIndexBlobs({ store, sealer, format, environment });
  const { blobs: live, writeEpoch } = await indexBlobs.live({ signal });
  const active = new Set(live.map(({ id }) => id));
  const blobs: IndexBlobInfo[] = live.map((blob) => ({ ...blob, active: true }));
  for await (const blob of store.list(format.epochs.enabled ? "x" : "n", { signal })) {
    if (!active.has(blob.id) && (!format.epochs.enabled || holdsIndex(blob.id))) {
      blobs.push({ ...blob, active: false });
    }
  }
  return {
    blobs: blobs.sort((a, b) => a.mtimeMs - b.mtimeMs || (a.id < b.id ? -1 : 1)),
    writeEpoch,
  };
}

/** The entries of one index blob, in the order of their ids. Throws `blob-not-found`, `corrupt`. */
export async function readIndexBlob(
  repository: Repository,
  id: BlobId,
  options: CallOptions = {},
): Promise<Iterable<ContentInfo>> {
  return parseIndex(await readSealedBlob(repository, id, options)).entries();
}

/**
 * The plain bytes of a blob that is sealed as a whole: an index, a session marker, a log, a compaction log. Throws
 * `blob-not-found`, and `corrupt` for a blob that is no such thing.
 */
export async function readSealedBlob(
  repository: Repository,
  id: BlobId,
  { signal }: CallOptions = {},
): Promise<Uint8Array> {
  const bytes = await repository.blobs.get(id, { signal });
  return openBlob(id, bytes, await repositorySealer(repository));
}

function holdsIndex(id: BlobId): boolean {
  const kind = parseEpochBlobName(id)?.kind;
  return kind === "uncompacted" || kind === "single" || kind === "range";
}

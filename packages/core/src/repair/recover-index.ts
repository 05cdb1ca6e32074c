import { PARALLEL_READS, READ_AHEAD_BYTES } from "../base/budget.ts";
import { forEachLimit, Semaphore } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { damageOf, type DamagedBlob } from "../blob/damaged-blob.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import type { BlobId, BlobInfo } from "../blob/store.ts";
import { readLocalIndex } from "../content/local-index.ts";
import { openBlob } from "../format/sealed-blob.ts";
import type { Sealer } from "../format/sealer.ts";
import { parseIndex } from "../index/index-file.ts";
import { repositorySealer } from "../repository/repository-sealer.ts";
import type { Repository } from "../repository/repository.ts";

/**
 * Puts together again what lost or damaged index blobs said (behaviour §5): every pack ends with an index of itself. What those do
 * not say comes back with the next collection of garbage: which contents are deleted. Index blobs that cannot be read are removed
 * at the end, since no other client opens a repository that has one; nothing is removed before all that packs say is stored.
 */

export interface RecoverIndexOptions extends CallOptions {
  /** False: only tell; nothing is written. */
  readonly commit: boolean;
  /** Only these packs; then no index blob is removed. Default: all. */
  readonly packs?: readonly BlobId[] | undefined;
  /** Only packs whose id begins with one of these, likewise. */
  readonly prefixes?: readonly string[] | undefined;
  /** Remove index blobs also when the end of some pack cannot be read: what only they said of it is lost. */
  readonly ignoreErrors?: boolean | undefined;
  /** Packs read at once; default 8. */
  readonly parallel?: number | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: RecoverIndexCounts) => void) | undefined;
}

export interface RecoverIndexCounts {
  /** Looked at. */
  readonly packs: number;
  /** Contents in them. */
  readonly contents: number;
  /** Contents that the index did not know, or knew only where they are lost. */
  readonly recovered: number;
}

export interface RecoverIndexReport extends RecoverIndexCounts {
  /** Packs that do not say what is in them; the index may know. */
  readonly unreadable: readonly DamagedBlob[];
  /** Index blobs and logs of compactions that cannot be read. */
  readonly damaged: readonly DamagedBlob[];
  /** Those of them that were removed. */
  readonly removed: readonly BlobId[];
}

// So that a crash loses little, and entries do not gather in memory.
const FLUSH_ABOVE_BYTES = 16 * 1024 * 1024;

/** Throws `read-only`, `invalid-argument` when a cache has index blobs that storage has not any more, what storage throws, and the signal's reason; what was recovered before stays. */
export async function recoverIndex(
  repository: Repository,
  options: RecoverIndexOptions,
): Promise<RecoverIndexReport> {
  const { commit, packs, prefixes, parallel = PARALLEL_READS, signal } = options;
  if (commit && repository.readOnly) {
    throw new VarveError("read-only", "the repository was opened read-only");
  }
  const { contents, blobs: store } = repository;
  await contents.refresh({ signal });
  await contents.auditPacks({ signal });
  const wasCached = await contents.bypassCache({ signal });
  const damaged = contents.damagedIndexBlobs;
  if (wasCached && damaged.length > 0) {
    // What the cache still knew of them would pass for known, and be lost with them.
    throw new VarveError(
      "invalid-argument",
      "an index is recovered from a repository without a cache",
    );
  }
  const sealer = await repositorySealer(repository);
  const unreadable: DamagedBlob[] = [];
  const counts = { packs: 0, contents: 0, recovered: 0 };
  const budget = new Semaphore(READ_AHEAD_BYTES);
  const readOne = async (pack: BlobInfo): Promise<void> => {
    await budget.acquire(TYPICAL_BYTES, { signal });
    try {
      const found = await readLocalIndex(store, pack, { sealer, signal });
      counts.contents += found.length;
      counts.recovered += contents.adopt(found, { dryRun: !commit }).length;
    } catch (error) {
      if (isVarveError(error, "blob-not-found")) {
        return; // deleted since it was listed
      }
      unreadable.push({ id: pack.id, error: requireDamage(error) });
    } finally {
      budget.release(TYPICAL_BYTES);
    }
    counts.packs += 1;
    options.onProgress?.(counts);
    if (contents.pendingBytes > FLUSH_ABOVE_BYTES) {
      await contents.flush({ signal });
    }
  };
  const isPart = packs !== undefined || prefixes !== undefined;
  const listed =
    packs === undefined
      ? listPacks(repository, { prefixes, signal })
      : statAll(repository, packs, { signal });
  await forEachLimit(listed, { limit: parallel, signal }, readOne);
  if (!commit) {
    return { ...counts, unreadable, damaged, removed: [] };
  }
  await contents.flush({ signal });
  // Keys that open no pack are not those of this repository, and then no index blob is damaged.
  const hasKeys = unreadable.length < counts.packs;
  const isComplete =
    hasKeys && !isPart && (unreadable.length === 0 || options.ignoreErrors === true);
  const removed = isComplete ? await removeDamaged(repository, damaged, { sealer, signal }) : [];
  await repository.refresh({ signal });
  return { ...counts, unreadable, damaged, removed };
}

// The local index of a pack of small files; the bound is on how many are held at once, not on each.
const TYPICAL_BYTES = 1024 * 1024;

async function* listPacks(
  { blobs }: Repository,
  { prefixes = ["p", "q"], signal }: CallOptions & { prefixes?: readonly string[] | undefined },
): AsyncGenerator<BlobInfo> {
  for (const prefix of prefixes) {
    if (!/^[pq]/.test(prefix)) {
      throw new VarveError("invalid-argument", `no pack begins with ${JSON.stringify(prefix)}`);
    }
    yield* blobs.list(prefix, { signal });
  }
}

async function* statAll(
  { blobs }: Repository,
  ids: readonly BlobId[],
  { signal }: CallOptions,
): AsyncGenerator<BlobInfo> {
  for (const id of ids) {
    yield await blobs.stat(id, { signal });
  }
}

/** Looks once more before: what can be read now is none of it. */
async function removeDamaged(
  { blobs }: Repository,
  damaged: readonly DamagedBlob[],
  { sealer, signal }: CallOptions & { readonly sealer: Sealer },
): Promise<BlobId[]> {
  const removed: BlobId[] = [];
  for (const { id, error } of damaged) {
    // What a later version has written is for that to remove. And without one of a set the others would not count any more.
    const isRemovable = error.code === "corrupt" && !SEVERAL_IN_SET.test(id);
    const bytes = isRemovable ? await getIfPresent(blobs, id, { signal }) : undefined;
    if (bytes !== undefined && !isReadable(id, bytes, sealer)) {
      signal?.throwIfAborted();
      await blobs.delete(id, { signal });
      removed.push(id);
    }
  }
  return removed;
}

const SEVERAL_IN_SET = /-c(?!1$)\d+$/;

function isReadable(id: BlobId, bytes: Uint8Array, sealer: Sealer): boolean {
  try {
    const plain = openBlob(id, bytes, sealer);
    return id.startsWith("m") || parseIndex(plain).count > 0; // `m`: the log of a compaction
  } catch (error) {
    requireDamage(error);
    return false;
  }
}

function requireDamage(error: unknown): VarveError {
  const damage = damageOf(error);
  if (damage === undefined) {
    throw error;
  }
  return damage;
}

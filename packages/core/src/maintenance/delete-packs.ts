import type { CallOptions } from "../base/environment.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import { type BlobTotals, deleteBlobs, totalsOf } from "../blob/delete-blobs.ts";
import type { BlobId, BlobInfo, BlobStore } from "../blob/store.ts";
import { sessionIdOf, readSessionMarker } from "../content/session.ts";
import type { Sealer } from "../format/sealer.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import type { Repository } from "../repository/repository.ts";
import { CUTOFF_SLACK_MS, type SafetyMargins } from "./safety.ts";

/** Deletes packs that no index names, and session markers that are over (behaviour §4.4): where space is freed at last. */

/** Gone; with `dryRun`, what would be. */
export interface DeletionReport extends BlobTotals {
  /** No index names them, but they are too young or of a session that may still commit. */
  readonly kept: BlobTotals;
  /** Not needed, and kept by storage until their locks end. */
  readonly locked: BlobTotals;
}

export interface DeletePacksOptions extends CallOptions {
  /** Milliseconds since the Unix epoch, by storage's clock. */
  readonly startMs: number;
  readonly margins: Pick<SafetyMargins, "minPackAgeMs" | "sessionExpiryMs">;
  readonly sealer: Sealer;
  /** First letters of the blobs to look at: `p` packs, `q` packs, `s` markers. */
  readonly kinds?: readonly ("p" | "q" | "s")[] | undefined;
  readonly dryRun?: boolean | undefined;
  /** Entries that were deleted before this Unix second have been dropped from every index blob. Default 0. */
  readonly droppedBeforeSeconds?: number | undefined;
}

/** Throws `corrupt` while a part of the index cannot be read. */
export async function deleteUnreferencedPacks(
  repository: Repository,
  options: DeletePacksOptions,
): Promise<DeletionReport> {
  const { signal, startMs, margins, dryRun = false } = options;
  const { blobs: store } = repository;
  // The order is what makes it safe beside writers: a session that commits while this runs is either still protected by
  // its marker, which is read after the packs were listed, or in the index, which is read after the markers.
  const candidates = await listUnreferenced(repository, options);
  const sessions = await liveSessions(store, options);
  await repository.refresh({ signal });
  requireWholeIndex(repository, "no packs are deleted");
  const named = packsInIndex(repository, options);
  const kept: BlobInfo[] = [];
  const doomed = candidates.filter((blob) => {
    const { id, mtimeMs } = blob;
    if (named.has(id)) {
      return false;
    }
    const isOld = mtimeMs <= startMs + CUTOFF_SLACK_MS && startMs - mtimeMs >= margins.minPackAgeMs;
    const isDoomed = isOld && !sessions.has(sessionIdOf(id) ?? "");
    if (!isDoomed) {
      kept.push(blob);
    }
    return isDoomed;
  });
  const { deleted, locked } = dryRun
    ? { deleted: doomed, locked: [] }
    : await deleteBlobs(store, doomed, { signal });
  return { ...totalsOf(deleted), kept: totalsOf(kept), locked: totalsOf(locked) };
}

async function listUnreferenced(
  repository: Repository,
  options: DeletePacksOptions,
): Promise<readonly BlobInfo[]> {
  const { kinds = ["p", "q", "s"], signal } = options;
  const named = packsInIndex(repository, options);
  const unreferenced = await Promise.all(
    kinds.map(async (kind) => {
      const found: BlobInfo[] = [];
      for await (const blob of repository.blobs.list(kind, { signal })) {
        if (!named.has(blob.id)) {
          found.push(blob);
        }
      }
      return found;
    }),
  );
  return unreferenced.flat();
}

/** Deleted entries count: until they are dropped, one of them may be needed again. */
function packsInIndex(
  { contents }: Repository,
  { droppedBeforeSeconds = 0 }: DeletePacksOptions,
): ReadonlySet<BlobId> {
  const packs = new Set<BlobId>();
  for (const [pack, isNamed] of contents.index
    .packUse({ droppedBeforeSeconds })
    .isNamed.entries()) {
    if (isNamed === 1) {
      packs.add(contents.index.packName(pack));
    }
  }
  return packs;
}

/** Sessions whose latest marker is young enough that they may still commit. */
async function liveSessions(
  store: BlobStore,
  { startMs, margins, sealer, signal }: DeletePacksOptions,
): Promise<ReadonlySet<string>> {
  const live = new Set<string>();
  for await (const { id, mtimeMs } of store.list("s", { signal })) {
    const marker = await readSessionMarker(store, id, { sealer, signal }).catch((error) => {
      // Its name says whose packs it protects, and its time since when at the latest.
      const sessionId = sessionIdOf(id);
      if (damageOf(error) === undefined || sessionId === undefined) {
        throw error;
      }
      return { sessionId, checkpointMs: mtimeMs };
    });
    if (marker !== undefined && startMs - marker.checkpointMs < margins.sessionExpiryMs) {
      live.add(marker.sessionId);
    }
  }
  return live;
}

import type { CallOptions } from "../base/environment.ts";
import type { BlobId } from "../blob/store.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { Repository } from "../repository/repository.ts";
import { loadSnapshot } from "../snapshot/snapshots.ts";
import { contentsInUse } from "./snapshot-gc.ts";

/** What deleting snapshots would free. */
export interface FreedSpace {
  /** Contents that no other snapshot needs, and the bytes that they take in packs. */
  readonly contents: number;
  readonly bytes: number;
  /**
   * Packs without anything else: gone as soon as the contents are dropped. What lies in other packs comes back when those are
   * rewritten, which is when less than 60 % of one is needed.
   */
  readonly packs: number;
  readonly bytesInPacks: number;
}

/**
 * Exact for the repository as this client sees it: what another client stores meanwhile may need some of it. Changes nothing. Throws
 * `manifest-not-found`, and `corrupt` when something cannot be read that might need anything.
 */
export async function predictFreedSpace(
  repository: Repository,
  snapshots: readonly ManifestId[],
  { signal }: CallOptions = {},
): Promise<FreedSpace> {
  for (const id of snapshots) {
    await loadSnapshot(repository, id, { signal });
  }
  const now = await contentsInUse(repository, { signal });
  const then = await contentsInUse(repository, { without: new Set(snapshots), signal });
  const freed = { contents: 0, bytes: 0 };
  const bytesOf = new Map<BlobId, number>();
  const needed = new Set<BlobId>();
  for (const info of repository.contents.entries()) {
    if (now.inUse.has(info.id) && !then.inUse.has(info.id)) {
      freed.contents += 1;
      freed.bytes += info.packedLength;
      bytesOf.set(info.packBlobId, (bytesOf.get(info.packBlobId) ?? 0) + info.packedLength);
    } else {
      needed.add(info.packBlobId);
    }
  }
  const whole = [...bytesOf].filter(([pack]) => !needed.has(pack));
  const bytesInPacks = whole.reduce((sum, [, bytes]) => sum + bytes, 0);
  return { ...freed, packs: whole.length, bytesInPacks };
}

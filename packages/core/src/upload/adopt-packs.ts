import { PARALLEL_READS } from "../base/budget.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import type { BlobId, BlobInfo } from "../blob/store.ts";
import { readLocalIndex } from "../content/local-index.ts";
import { contentPrefix } from "../index/content-id.ts";
import { repositorySealer } from "../repository/repository-sealer.ts";
import type { Repository } from "../repository/repository.ts";

/**
 * Half as long as maintenance, Kopia's too, keeps a pack that no index names (behaviour §4.3): one that is adopted is named
 * long before it could be deleted.
 */
const MAX_AGE_MS = 12 * 60 * 60 * 1000;

/**
 * Commits what an upload that was killed had stored: contents of whole packs that no index names, as the packs themselves
 * say it (spec §3.6). Not manifests: what those refer to may not have been stored. Such a pack may also be that of a
 * client that is at work: it will say the same of it. Costs a listing of packs and a read or two for each of them.
 */
export async function adoptPacks(
  repository: Repository,
  { signal }: CallOptions = {},
): Promise<void> {
  const { contents, blobs } = repository;
  const sealer = await repositorySealer(repository);
  const packs = await unnamedPacks(repository, { signal });
  await forEachLimit(packs, { limit: PARALLEL_READS, signal }, async (pack) => {
    try {
      const found = await readLocalIndex(blobs, pack, { sealer, signal });
      contents.adopt(found.filter(({ id }) => contentPrefix(id) !== "m"));
    } catch (error) {
      if (!isVarveError(error, "blob-not-found") && damageOf(error) === undefined) {
        throw error;
      }
    }
  });
  await contents.flush({ signal });
}

async function unnamedPacks(
  { contents, blobs, environment }: Repository,
  { signal }: CallOptions,
): Promise<Iterable<BlobInfo>> {
  const sinceMs = environment.nowMs() - MAX_AGE_MS;
  const young = new Map<BlobId, BlobInfo>();
  for (const prefix of ["p", "q"]) {
    for await (const pack of blobs.list(prefix, { signal })) {
      if (pack.mtimeMs > sinceMs) {
        young.set(pack.id, pack);
      }
    }
  }
  const { index } = contents;
  for (let pack = 0; pack < index.packCount && young.size > 0; pack++) {
    young.delete(index.packName(pack));
  }
  return young.values();
}

import { PARALLEL_READS } from "../base/budget.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import type { BlobInfo } from "../blob/store.ts";
import { type PackRange, planRanges } from "../content/bulk-reader.ts";
import { parseEpochBlobName } from "../epoch/epoch-names.ts";
import type { Sealer } from "../format/sealer.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { Repository } from "../repository/repository.ts";

/**
 * What error correction (spec §7) makes whole each time it is read is one more error away from being lost: it is stored anew. Index
 * blobs are put again under their names, contents into new packs. Gives how many there were.
 */
export async function correctErrors(
  repository: Repository,
  options: CallOptions & { readonly sealer: Sealer; readonly commit: boolean },
): Promise<number> {
  return (await correctContents(repository, options)) + (await correctIndexes(repository, options));
}

// As objects in memory at once.
const INFOS_IN_BATCH = 10_000;

async function correctContents(
  { contents, blobs }: Repository,
  { sealer, commit, signal }: CallOptions & { readonly sealer: Sealer; readonly commit: boolean },
): Promise<number> {
  let count = 0;
  const correctRange = async ({ packBlobId, offset, length, infos }: PackRange): Promise<void> => {
    const bytes = await blobs.get(packBlobId, { range: { offset, length }, signal }).catch(noBytes);
    for (const info of bytes === undefined ? [] : infos) {
      const start = info.packOffset - offset;
      const whole = correct(sealer, bytes?.subarray(start, start + info.packedLength));
      if (whole !== undefined) {
        count += 1;
        if (commit) {
          await contents.heal(info.id, contents.decode(info, whole), { signal });
        }
      }
    }
  };
  const correctBatch = (infos: readonly ContentInfo[]): Promise<void> =>
    forEachLimit(planRanges(infos), { limit: PARALLEL_READS, signal }, correctRange);
  let batch: ContentInfo[] = [];
  for (const info of contents.entries()) {
    batch.push(info);
    if (batch.length === INFOS_IN_BATCH) {
      await correctBatch(batch);
      batch = [];
    }
  }
  await correctBatch(batch);
  return count;
}

async function correctIndexes(
  { blobs }: Repository,
  { sealer, commit, signal }: CallOptions & { readonly sealer: Sealer; readonly commit: boolean },
): Promise<number> {
  let count = 0;
  const correctBlob = async ({ id }: BlobInfo): Promise<void> => {
    if (/^(?:marker|watermark)$/.test(parseEpochBlobName(id)?.kind ?? "")) {
      return; // plain text
    }
    const whole = correct(sealer, await blobs.get(id, { signal }).catch(noBytes));
    if (whole !== undefined) {
      count += 1;
      if (commit) {
        signal?.throwIfAborted();
        await blobs.put(id, [whole], { signal });
      }
    }
  };
  for (const prefix of ["x", "n"]) {
    await forEachLimit(
      blobs.list(prefix, { signal }),
      { limit: PARALLEL_READS, signal },
      correctBlob,
    );
  }
  return count;
}

/** Nothing for what needs no correction, or is beyond it. */
function correct(sealer: Sealer, sealed: Uint8Array | undefined): Uint8Array | undefined {
  try {
    return sealed && sealer.corrected(sealed);
  } catch (error) {
    if (damageOf(error) === undefined) {
      throw error;
    }
    return undefined;
  }
}

/** A pack that is lost is not for this to judge. */
function noBytes(error: unknown): undefined {
  if (!isVarveError(error, "blob-not-found") && !isVarveError(error, "range-invalid")) {
    throw error;
  }
}

import type { CallOptions } from "../base/environment.ts";
import type { BlobId } from "../blob/store.ts";
import type { ContentId, ContentPrefix } from "../index/content-id.ts";
import type { Repository } from "../repository/repository.ts";
import { affectedPaths } from "./affected-paths.ts";
import type { Damage } from "./damage.ts";
import { IdSet } from "./id-set.ts";
import { listPacks, placeProblem, readAll } from "./packs.ts";
import { isChosen } from "./chance.ts";
import { type Reason, reasonOf } from "./structure.ts";

/**
 * Checks the index against the packs, whether snapshots need the contents or not: every pack is there and long enough,
 * and every content that is read has the bytes that its id says. Writes nothing.
 */

export interface VerifyContentsOptions extends CallOptions {
  /** Which part of the contents to read, 0 to 1; default 0, which makes only one listing of the packs. */
  readonly readFraction?: number | undefined;
  /** Another seed picks other contents for the same fraction. */
  readonly readSeed?: string | undefined;
  /** Only contents with this prefix; `""` is file data. */
  readonly prefix?: ContentPrefix | undefined;
  /** Deleted ones too. */
  readonly includeDeleted?: boolean | undefined;
  readonly parallel?: number | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: ContentCounts) => void) | undefined;
}

export interface ContentCounts {
  readonly contents: number;
  readonly contentsInMissingPacks: number;
  readonly contentsInTruncatedPacks: number;
  /** Read, and not what they should be. */
  readonly unreadableContents: number;
  /** Read, and good. */
  readonly contentsRead: number;
  /** Their plain bytes. */
  readonly bytesRead: number;
}

export type PackProblem = "missing" | "truncated" | "corrupted";

export interface VerifyContentsReport extends ContentCounts {
  /** Every bad pack with its worst problem. */
  readonly packs: readonly { readonly id: BlobId; readonly problem: PackProblem }[];
  /** The first {@link MAX_BAD_CONTENTS} bad contents. */
  readonly damaged: readonly (Reason & { readonly content: ContentId; readonly pack: BlobId })[];
  readonly damagedCount: number;
  /** The paths of snapshots that need the contents listed in `damaged`, or others that are lost. */
  readonly affected: readonly Damage[];
}

export const MAX_BAD_CONTENTS = 10_000;

/** Throws what listing the storage throws and the signal's reason. */
export async function verifyContents(
  repository: Repository,
  options: VerifyContentsOptions,
): Promise<VerifyContentsReport> {
  const report = await checkContents(repository, options);
  const bad = new Map(report.damaged.map((content) => [content.content, content]));
  const { signal } = options;
  return {
    ...report,
    affected: bad.size === 0 ? [] : await affectedPaths(repository, bad, { signal }),
  };
}

/** {@link verifyContents} without a look at snapshots. */
export async function checkContents(
  repository: Repository,
  options: VerifyContentsOptions,
): Promise<Omit<VerifyContentsReport, "affected">> {
  const { readFraction = 0, readSeed = "", prefix, includeDeleted = false, signal } = options;
  await repository.contents.bypassCache({ signal });
  const packSizes = await listPacks(repository.blobs, { signal });
  const packs = new Map<BlobId, PackProblem>();
  const damaged: (Reason & { content: ContentId; pack: BlobId })[] = [];
  const toRead = new IdSet(repository.contents.index);
  const counts = {
    contents: 0,
    contentsInMissingPacks: 0,
    contentsInTruncatedPacks: 0,
    unreadableContents: 0,
    contentsRead: 0,
    bytesRead: 0,
  };
  const add = (
    info: { id: ContentId; packBlobId: BlobId },
    problem: PackProblem,
    error: unknown,
  ): void => {
    if (!packs.has(info.packBlobId)) {
      packs.set(info.packBlobId, problem);
    }
    if (damaged.length < MAX_BAD_CONTENTS) {
      damaged.push({ content: info.id, pack: info.packBlobId, ...reasonOf(error) });
    }
  };
  const entries = repository.contents.entries({
    deleted: includeDeleted,
    ...(prefix === undefined ? {} : { prefix }),
  });
  for (const info of entries) {
    counts.contents += 1;
    const error = placeProblem(packSizes, info);
    if (error === undefined) {
      if (isChosen(info.id, { fraction: readFraction, seed: readSeed })) {
        toRead.add(info.id);
      }
    } else if (error.code === "blob-not-found") {
      counts.contentsInMissingPacks += 1;
      add(info, "missing", error);
    } else {
      counts.contentsInTruncatedPacks += 1;
      add(info, "truncated", error);
    }
  }
  signal?.throwIfAborted();
  await readAll(repository, toRead, {
    signal,
    parallel: options.parallel,
    onRead: (info, error) => {
      if (error === undefined) {
        counts.contentsRead += 1;
        counts.bytesRead += info.originalLength;
      } else {
        counts.unreadableContents += 1;
        add(info, "corrupted", error);
      }
      options.onProgress?.(counts);
    },
  });
  const { contentsInMissingPacks, contentsInTruncatedPacks, unreadableContents } = counts;
  return {
    ...counts,
    packs: Array.from(packs, ([id, problem]) => ({ id, problem })),
    damaged,
    damagedCount: contentsInMissingPacks + contentsInTruncatedPacks + unreadableContents,
  };
}

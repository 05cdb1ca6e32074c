import type { CallOptions } from "../base/environment.ts";
import { type ErrorCode, isVarveError, VarveError } from "../base/errors.ts";
import type { Sealer } from "../format/sealer.ts";
import { type ContentId, contentIdOf, contentPrefix } from "../index/content-id.ts";
import { splitObjectId } from "../object/object-id.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import { repositorySealer } from "../repository/repository-sealer.ts";
import type { Repository } from "../repository/repository.ts";
import { findEntry } from "../snapshot/read-directory.ts";
import { listSnapshots, type SavedSnapshot } from "../snapshot/snapshots.ts";
import { childOf, type SourceEntry } from "../source/source-entry.ts";
import { affectedPaths } from "../verify/affected-paths.ts";
import type { Damage } from "../verify/damage.ts";
import type { Findings, Reason } from "../verify/structure.ts";
import { checkContents } from "../verify/verify-contents.ts";
import { correctErrors } from "./correct-errors.ts";
import { piecesOfFile } from "./pieces-of-file.ts";

/**
 * Brings lost and damaged contents back: from a mirror that has them, or from the files they were made of if these still are what
 * they were. What comes back is judged by its hash alone, so no place it comes from has to be trusted. What cannot be healed
 * is named by the snapshots and paths that need it.
 */

export interface RepairContentsOptions extends CallOptions {
  /** False: only tell; nothing is written. */
  readonly commit: boolean;
  /** The part of the contents whose bytes are read to find damage, 0 to 1; 0 finds lost packs only. Default 1. */
  readonly readFraction?: number | undefined;
  /** Another copy of the repository, opened: anything with the same hash and secret. Stays the caller's. */
  readonly mirror?: Pick<Repository, "contents"> | undefined;
  /** The root of what a snapshot was made of, where that can be read. */
  readonly source?: ((snapshot: SavedSnapshot) => Promise<SourceEntry | undefined>) | undefined;
  readonly parallel?: number | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: RepairContentsCounts) => void) | undefined;
}

export interface RepairContentsCounts {
  /** Contents found lost or damaged. */
  readonly damaged: number;
  /** Those of them that the mirror has, and that files still have. */
  readonly fromMirror: number;
  readonly fromSource: number;
  /** Contents and index blobs that error correction makes whole, and that are stored anew. */
  readonly corrected: number;
}

export interface RepairContentsReport extends RepairContentsCounts {
  /** What cannot be restored as it was, nevertheless. */
  readonly unhealed: readonly Damage[];
}

// What is no damage may be read later, and is nobody's to replace.
const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  "corrupt",
  "content-not-found",
  "object-not-found",
  "blob-not-found",
  "range-invalid",
]);

/**
 * Throws `read-only`, `corrupt` while a part of the index cannot be read, what storage throws, and the signal's reason; what was
 * healed and flushed before stays.
 */
export async function repairContents(
  repository: Repository,
  options: RepairContentsOptions,
): Promise<RepairContentsReport> {
  const { commit, signal } = options;
  if (commit && repository.readOnly) {
    throw new VarveError("read-only", "the repository was opened read-only");
  }
  await repository.refresh({ signal });
  requireWholeIndex(repository, "contents are not repaired");
  const sealer = await repositorySealer(repository);
  const repair = new Repair(repository, { ...options, sealer });
  const unhealed = await repair.run();
  return { ...repair.counts, unhealed };
}

class Repair {
  readonly counts = { damaged: 0, fromMirror: 0, fromSource: 0, corrected: 0 };
  readonly #repository: Repository;
  readonly #options: RepairContentsOptions & { readonly sealer: Sealer };
  readonly #bad = new Map<ContentId, Reason>();
  /** In a dry run those that could be. */
  readonly #healed = new Set<ContentId>();

  constructor(
    repository: Repository,
    options: RepairContentsOptions & { readonly sealer: Sealer },
  ) {
    this.#repository = repository;
    this.#options = options;
  }

  /** A directory that comes back shows more below it: so it looks again for as long as anything is healed. */
  async run(): Promise<readonly Damage[]> {
    const { commit, signal, readFraction = 1, parallel } = this.#options;
    const { damaged } = await checkContents(this.#repository, { readFraction, parallel, signal });
    for (const { content, code, message } of damaged) {
      this.#add(content, { code, message });
    }
    if (this.#repository.format.ecc !== undefined && readFraction > 0) {
      this.counts.corrected = await correctErrors(this.#repository, this.#options);
      if (commit) {
        await this.#repository.flush({ signal }); // or their packs would be missed
      }
    }
    for (;;) {
      const before = this.#healed.size;
      await this.#walk(); // finds contents that are in no index
      await this.#fromMirror();
      await this.#fromSource(await this.#walk());
      if (commit) {
        await this.#repository.flush({ signal });
        await this.#repository.refresh({ signal });
      }
      if (this.#healed.size === before || !commit) {
        return await this.#walk();
      }
    }
  }

  #add(id: ContentId, reason: Reason): void {
    if (!DAMAGE.has(reason.code)) {
      throw new VarveError(reason.code, `content ${id}: ${reason.message}`);
    }
    if (!this.#bad.has(id)) {
      this.#bad.set(id, reason);
      this.counts.damaged = this.#bad.size;
    }
  }

  /** Every path that needs what is not healed. */
  async #walk(): Promise<Damage[]> {
    const amend = (findings: Findings): void => this.#merge(findings);
    return await affectedPaths(this.#repository, new Map(), { ...this.#options, amend });
  }

  /** What reading has found and what walking has. */
  #merge(findings: Findings): void {
    for (const [id, reason] of findings.contents) {
      this.#add(id, reason);
    }
    for (const [id, reason] of this.#bad) {
      if (this.#healed.has(id)) {
        findings.contents.delete(id);
      } else {
        findings.contents.set(id, reason);
      }
    }
    for (const object of findings.objects.keys()) {
      if (this.#healed.has(splitObjectId(object).contentId)) {
        findings.objects.delete(object);
      }
    }
  }

  async #fromMirror(): Promise<void> {
    const { mirror, signal } = this.#options;
    for (const id of mirror === undefined ? [] : this.#bad.keys()) {
      if (this.#healed.has(id)) {
        continue;
      }
      const data = await mirror?.contents.read(id, { signal }).catch(requireDamage);
      this.counts.fromMirror += data !== undefined && (await this.#heal(id, data)) ? 1 : 0;
    }
  }

  async #fromSource(damage: readonly Damage[]): Promise<void> {
    const { source, signal } = this.#options;
    if (source === undefined) {
      return;
    }
    const { snapshots } = await listSnapshots(this.#repository, {}, { signal });
    const roots = new Map<string, SourceEntry | undefined>();
    for (const { snapshot: id, path } of damage) {
      const snapshot = snapshots.find((saved) => saved.id === id);
      if (snapshot === undefined) {
        continue;
      }
      if (!roots.has(id)) {
        roots.set(id, await source(snapshot));
      }
      const file = await descend(roots.get(id), path, { signal });
      const entry = await findEntry(this.#repository, snapshot.root, path, { signal }).catch(
        requireDamage,
      );
      if (entry !== undefined && file?.meta.type === entry.type && entry.type !== "directory") {
        const isWanted = (content: ContentId): boolean =>
          this.#bad.has(content) && !this.#healed.has(content);
        for await (const piece of piecesOfFile(this.#repository, {
          entry,
          file,
          isWanted,
          signal,
        })) {
          this.counts.fromSource += (await this.#heal(piece.id, piece.data)) ? 1 : 0;
        }
      }
    }
  }

  /** False for other bytes than those that were lost. */
  async #heal(id: ContentId, data: Uint8Array): Promise<boolean> {
    const { commit, sealer, signal } = this.#options;
    if (contentIdOf(contentPrefix(id), sealer.hash(data)) !== id) {
      return false;
    }
    if (commit) {
      const { contents, codecs } = this.#repository;
      const headerId = contents.info(id)?.compressionHeaderId ?? 0;
      const known = headerId === 0 ? undefined : codecs.byHeaderId(headerId);
      const codec = known?.writable === true ? known : undefined;
      await contents.heal(id, data, { codec, signal });
    }
    this.#healed.add(id);
    this.#options.onProgress?.(this.counts);
    return true;
  }
}

/** Nothing for damage; what is none is thrown. */
function requireDamage(error: unknown): undefined {
  if (!isVarveError(error) || !DAMAGE.has(error.code)) {
    throw error;
  }
}

/** What lies there now, if anything does. */
async function descend(
  root: SourceEntry | undefined,
  path: string,
  options: CallOptions,
): Promise<SourceEntry | undefined> {
  let entry = root;
  try {
    for (const name of path === "" ? [] : path.split("/")) {
      entry = entry && (await childOf(entry, name, options));
    }
    return entry;
  } catch (error) {
    if (isVarveError(error, "source-failed")) {
      return undefined;
    }
    throw error;
  }
}

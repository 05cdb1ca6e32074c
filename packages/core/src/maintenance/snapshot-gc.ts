import { type ErrorCode, VarveError } from "../base/errors.ts";
import { BitSet } from "../base/bit-set.ts";
import type { CallOptions } from "../base/environment.ts";
import { type ContentId, contentPrefix } from "../index/content-id.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { Repository } from "../repository/repository.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import type { IdSet } from "../verify/id-set.ts";
import { StructureCheck } from "../verify/structure.ts";

/**
 * Snapshot garbage collection (behaviour §4.4): contents that no snapshot reaches are marked deleted once they are old enough,
 * and those that one reaches again are unmarked. It frees nothing: dropping the marked entries and deleting packs are steps
 * of their own, hours later. What cannot be read could refer to anything: then nothing is marked.
 */

export interface CollectionReport {
  readonly snapshots: number;
  readonly inUse: Tally;
  /** Manifests and the like, which are never collected. */
  readonly system: Tally;
  /** Reached by nobody, but too young to say. */
  readonly tooRecent: Tally;
  /** Marked deleted by this run. */
  readonly marked: Tally;
  /** Marked deleted by an earlier run, not dropped yet. */
  readonly alreadyMarked: Tally;
  /** Unmarked by this run. */
  readonly recovered: Tally;
  /** Contents that snapshots need and no index has: their files are lost, and verify names them. */
  readonly missing: number;
}

export interface Tally {
  readonly count: number;
  /** Bytes in packs. */
  readonly bytes: number;
}

export interface CollectOptions extends CallOptions {
  /** Milliseconds since the Unix epoch, by storage's clock. */
  readonly startMs: number;
  readonly minContentAgeMs: number;
  /** Counts and changes nothing. */
  readonly dryRun?: boolean | undefined;
}

// So that a crash loses little, and tombstones do not gather in memory.
const FLUSH_EVERY = 100_000;
/** Ids that are text at a time: all those of a flush would take 25 MB. */
const IDS_AT_ONCE = 1000;

type MutableTally = { -readonly [K in keyof Tally]: Tally[K] };

/** Throws, before anything is marked, when a snapshot, a manifest or a directory cannot be read: `corrupt`, or what reading it threw. */
export async function collectSnapshotGarbage(
  repository: Repository,
  options: CollectOptions,
): Promise<CollectionReport> {
  const { signal, startMs, minContentAgeMs, dryRun = false } = options;
  const { snapshots, inUse, missing } = await contentsInUse(repository, { signal });
  const youngestSeconds = (startMs - minContentAgeMs) / 1000;
  const report = {
    snapshots,
    inUse: noTally(),
    system: noTally(),
    tooRecent: noTally(),
    marked: noTally(),
    alreadyMarked: noTally(),
    recovered: noTally(),
    missing,
  };
  const { index } = repository.contents;
  const changes = new Changes(repository, { dryRun, signal });
  for (const info of repository.contents.entries({ deleted: true })) {
    const isInUse = inUse.has(info.id);
    const kind =
      contentPrefix(info.id) === "m"
        ? "system"
        : isInUse
          ? info.deleted
            ? "recovered"
            : "inUse"
          : info.deleted
            ? "alreadyMarked"
            : info.timestampSeconds > youngestSeconds
              ? "tooRecent"
              : "marked";
    report[kind].count += 1;
    report[kind].bytes += info.packedLength;
    if (kind === "marked") {
      changes.remove.add(index.refOf(info.id));
    } else if (kind === "recovered") {
      changes.restore.add(index.refOf(info.id));
    }
  }
  await changes.apply();
  return report;
}

/**
 * Every content that a snapshot reaches, incomplete snapshots included, those of `without` left out. Throws `corrupt`, or what reading
 * threw, when it cannot be said.
 */
export async function contentsInUse(
  repository: Repository,
  { without, signal }: CallOptions & { readonly without?: ReadonlySet<ManifestId> },
): Promise<{ snapshots: number; inUse: IdSet; missing: number }> {
  requireWholeIndex(repository, "nothing is collected");
  const { snapshots: all, damaged } = await listSnapshots(repository, {}, { signal });
  const snapshots = all.filter(({ id }) => without?.has(id) !== true);
  const [badContent] = repository.manifests.damaged;
  const [badManifest] = damaged;
  if (badContent !== undefined || badManifest !== undefined) {
    throw cannotCollect(
      badContent === undefined
        ? `snapshot ${badManifest?.id}: ${badManifest?.error.message}`
        : `manifests in content ${badContent.contentId}: ${badContent.reason}`,
    );
  }
  const walk = new StructureCheck({
    repository,
    packs: undefined,
    isSelected: () => false,
    signal,
    onProgress: () => {},
  });
  for (const { root } of snapshots) {
    await (root.type === "directory"
      ? walk.checkDirectory(root.object)
      : walk.checkFile(root.object));
  }
  const { objects, directories, contents } = walk.findings;
  for (const [object, { message, code }] of objects) {
    throw cannotCollect(`object ${object}: ${message}`, code);
  }
  for (const object of directories) {
    throw cannotCollect(`directory ${object} has entries that cannot be understood`);
  }
  return { snapshots: snapshots.length, inUse: walk.contents, missing: contents.size };
}

function cannotCollect(what: string, code: ErrorCode = "corrupt"): VarveError {
  return new VarveError(
    code,
    `nothing is collected while it is unknown what is needed: ${what} (verify names what is damaged, snapshot fix removes it)`,
  );
}

/** Changes are made after the index was gone through: it must not grow under its own iteration. */
class Changes {
  readonly remove: BitSet = new BitSet();
  readonly restore: BitSet = new BitSet();
  readonly #repository: Repository;
  readonly #dryRun: boolean;
  readonly #signal: AbortSignal | undefined;

  constructor(repository: Repository, options: CallOptions & { dryRun: boolean }) {
    this.#repository = repository;
    this.#dryRun = options.dryRun;
    this.#signal = options.signal;
  }

  async apply(): Promise<void> {
    if (this.#dryRun) {
      return;
    }
    const { contents } = this.#repository;
    // What is needed first: a crash in between leaves more, not less.
    await this.#inSteps(this.restore, (ids) => contents.unremove(ids));
    await this.#inSteps(this.remove, (ids) => contents.remove(ids));
  }

  async #inSteps(refs: BitSet, change: (ids: readonly ContentId[]) => void): Promise<void> {
    const { contents } = this.#repository;
    let ids: ContentId[] = [];
    let count = 0;
    const flush = async (): Promise<void> => {
      this.#signal?.throwIfAborted();
      change(ids);
      ids = [];
      await this.#repository.flush({ signal: this.#signal });
    };
    for (const ref of refs) {
      ids.push(contents.index.idAt(ref));
      count += 1;
      if (count % FLUSH_EVERY === 0) {
        await flush();
      } else if (ids.length >= IDS_AT_ONCE) {
        change(ids);
        ids = [];
      }
    }
    if (count % FLUSH_EVERY > 0) {
      await flush();
    }
  }
}

function noTally(): MutableTally {
  return { count: 0, bytes: 0 };
}

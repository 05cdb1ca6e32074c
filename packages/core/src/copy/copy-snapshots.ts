import { toHex } from "../base/bytes.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { loadPolicyTree } from "../policy/policy-tree.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { entryToJson } from "../snapshot/entry-json.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import {
  deleteSnapshot,
  formatSource,
  listSnapshots,
  loadSnapshot,
  type SavedSnapshot,
} from "../snapshot/snapshots.ts";
import { copyPolicies } from "./copy-policies.ts";
import { CopiedObjects } from "./copied-objects.ts";
import { TreeCopier } from "./copy-tree.ts";

/**
 * Copies snapshots from one repository into another, which may have other keys, another hash, cipher, cut or compression: so a new
 * master key is a new repository and a copy. What was copied once is found again, also after a crash: by a member of the manifest that
 * says of what it is a copy, which Kopia ignores. Nothing but snapshots and policies is written, and nothing is ever deleted but
 * checkpoints of the copy itself.
 */

export interface CopyOptions extends CallOptions {
  /** Left out: all complete ones. Others are never copied. */
  readonly snapshots?: readonly ManifestId[] | undefined;
  /**
   * `missing` copies policies that the target does not have: with `snapshots` those of their sources, else all. Default `none`. Policies
   * come first, so that they say how what follows is stored.
   */
  readonly policies?: "none" | "missing" | "overwrite" | undefined;
  /** How often an unfinished copy is saved, so that nobody collects it. At most, and left out, 45 minutes. */
  readonly checkpointIntervalMs?: number | undefined;
  /** Sources that are copied at the same time, the snapshots of each one after the other; no more than memory allows. Default 1. */
  readonly parallel?: number | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

export interface CopyProgress {
  readonly snapshot: SavedSnapshot;
  /** Of all snapshots. */
  readonly files: number;
  readonly bytes: number;
}

export interface CopyReport {
  readonly copied: readonly { readonly from: ManifestId; readonly snapshot: SavedSnapshot }[];
  /** Were there already: of the same source with the same start. */
  readonly present: readonly SavedSnapshot[];
  /** Cannot be read as a whole; `message` names the path. `fix` takes out what is damaged. */
  readonly failed: readonly { readonly snapshot: SavedSnapshot; readonly message: string }[];
  readonly policies: number;
  /** Read from the source, each distinct file once. */
  readonly files: number;
  readonly bytes: number;
}

const MAX_CHECKPOINT_INTERVAL_MS = 45 * 60_000;
/** Kopia's own interval: a session must not grow old. */
const FLUSH_INTERVAL_MS = 10 * 60_000;
const COPIED_FROM = "copiedFrom";

/**
 * Oldest first, with `parallel` in each source. Times, owner, description, tags and pins stay; ids of manifests are new. Throws `read-only`, `invalid-argument`,
 * `manifest-not-found` for an unknown id, `corrupt` for manifests that cannot be read, and what storage throws: then what was
 * copied stays, and the next call goes on.
 */
export async function copySnapshots(
  source: Repository,
  target: Repository,
  options: CopyOptions = {},
): Promise<CopyReport> {
  const { signal, policies = "none", parallel = 1 } = options;
  const { checkpointIntervalMs = MAX_CHECKPOINT_INTERVAL_MS } = options;
  if (target.readOnly) {
    throw new VarveError("read-only", "the target was opened read-only");
  }
  if (!(checkpointIntervalMs > 0 && checkpointIntervalMs <= MAX_CHECKPOINT_INTERVAL_MS)) {
    throw new VarveError("invalid-argument", "checkpoints must be made every 45 minutes at least");
  }
  if (!(Number.isInteger(parallel) && parallel >= 1)) {
    throw new VarveError("invalid-argument", `copy ${parallel} sources at the same time`);
  }
  const wanted = await selectSnapshots(source, options);
  const policyCount =
    policies === "none"
      ? 0
      : await copyPolicies(source, target, {
          sources: options.snapshots && wanted.map((snapshot) => snapshot.source),
          overwrite: policies === "overwrite",
          signal,
        });
  await target.flush({ signal });
  await target.contents.auditPacks({ signal });
  const limit = Math.min(parallel, target.memory.parallelReads);
  const copy = new Copy(source, target, { ...options, checkpointIntervalMs, parallel: limit });
  await forEachLimit(limit === 1 ? [wanted] : bySource(wanted), { limit, signal }, (snapshots) =>
    copy.addAll(snapshots),
  );
  const { copied, present, failed, files, bytes } = copy;
  return { copied, present, failed, policies: policyCount, files, bytes };
}

async function selectSnapshots(
  source: Repository,
  { snapshots: ids, signal }: CopyOptions,
): Promise<readonly SavedSnapshot[]> {
  const { snapshots, damaged } = await listSnapshots(source, { incomplete: false }, { signal });
  if (ids === undefined) {
    const [bad] = damaged;
    if (bad !== undefined) {
      throw bad.error;
    }
    return snapshots;
  }
  const found = new Set<ManifestId>(ids);
  for (const id of ids) {
    await loadSnapshot(source, id, { signal }); // throws for one that is not there
  }
  return snapshots.filter(({ id }) => found.has(id));
}

function bySource(snapshots: readonly SavedSnapshot[]): Iterable<readonly SavedSnapshot[]> {
  const groups = new Map<string, SavedSnapshot[]>();
  for (const snapshot of snapshots) {
    const name = formatSource(snapshot.source);
    groups.set(name, [...(groups.get(name) ?? []), snapshot]);
  }
  return groups.values();
}

type CheckedOptions = CopyOptions & {
  readonly checkpointIntervalMs: number;
  readonly parallel: number;
};

class Copy {
  readonly copied: { from: ManifestId; snapshot: SavedSnapshot }[] = [];
  readonly present: SavedSnapshot[] = [];
  readonly failed: { snapshot: SavedSnapshot; message: string }[] = [];
  files = 0;
  bytes = 0;
  readonly #source: Repository;
  readonly #target: Repository;
  readonly #options: CheckedOptions;
  readonly #objects: CopiedObjects;
  /** Sources of which earlier copies were learned. */
  readonly #learned = new Set<string>();
  #flushMs: number;
  #committing = false;
  /** Ends the sources that are copied beside it, too. */
  #failure: { readonly error: unknown } | undefined;

  constructor(source: Repository, target: Repository, options: CheckedOptions) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
    this.#objects = new CopiedObjects({ source, target });
    this.#flushMs = target.environment.nowMs();
  }

  /** One after the other. */
  async addAll(snapshots: readonly SavedSnapshot[]): Promise<void> {
    try {
      for (const snapshot of snapshots) {
        this.#throwIfStopped();
        await this.#add(snapshot);
      }
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    }
  }

  #throwIfStopped(): void {
    this.#options.signal?.throwIfAborted();
    if (this.#failure !== undefined) {
      throw this.#failure.error;
    }
  }

  async #add(snapshot: SavedSnapshot): Promise<void> {
    const { signal } = this.#options;
    const target = this.#target;
    const there = await listSnapshots(target, { source: snapshot.source }, { signal });
    const sameStart = there.snapshots.filter(
      ({ startTimeNs }) => startTimeNs === snapshot.startTimeNs,
    );
    if (sameStart.some(({ incomplete }) => incomplete === undefined)) {
      this.present.push(snapshot);
      return;
    }
    const checkpoints = await this.#copiesAmong(sameStart, snapshot);
    await this.#learnFrom(snapshot.source, there.snapshots);
    for (const { original, copy } of checkpoints) {
      await this.#objects.learn(original, copy.root, { signal });
    }
    const root = await this.#copyTree(snapshot);
    if (root === undefined) {
      return;
    }
    const id = await this.#save(snapshot, { root });
    await this.#deleteCheckpoints(snapshot);
    await target.flush({ signal });
    this.copied.push({ from: snapshot.id, snapshot: await loadSnapshot(target, id, { signal }) });
  }

  /** The root in the target; nothing when the source is damaged. */
  async #copyTree(snapshot: SavedSnapshot): Promise<DirectoryEntry | undefined> {
    const { signal, onProgress, parallel } = this.#options;
    const target = this.#target;
    const checkpoint = { savedMs: target.environment.nowMs() };
    const policy = await loadPolicyTree(target, snapshot.source, { signal });
    const copier = new TreeCopier({
      source: this.#source,
      target,
      copied: this.#objects,
      parallelReads: Math.floor(target.memory.parallelReads / parallel),
      signal,
      onFile: () => {
        this.files += 1;
      },
      onBytes: async (bytes) => {
        this.bytes += bytes;
        onProgress?.({ snapshot, files: this.files, bytes: this.bytes });
        this.#throwIfStopped();
        await this.#commitIfDue(snapshot, copier, checkpoint);
      },
    });
    try {
      return await copier.copy(snapshot.root, policy);
    } catch (error) {
      if (!isVarveError(error, "source-failed")) {
        throw error;
      }
      this.failed.push({ snapshot, message: error.message });
      return undefined;
    }
  }

  /** One at a time; the others go on copying. */
  async #commitIfDue(
    snapshot: SavedSnapshot,
    copier: TreeCopier,
    checkpoint: { savedMs: number },
  ): Promise<void> {
    const { contents, memory, environment } = this.#target;
    const nowMs = environment.nowMs();
    const isCheckpointDue = nowMs - checkpoint.savedMs >= this.#options.checkpointIntervalMs;
    const isFlushDue =
      nowMs - this.#flushMs >= FLUSH_INTERVAL_MS ||
      contents.pendingBytes >= memory.pendingIndexBytes;
    if (this.#committing || !(isCheckpointDue || isFlushDue)) {
      return;
    }
    this.#committing = true;
    try {
      const root = isCheckpointDue ? await copier.storePart() : undefined;
      if (root !== undefined) {
        await this.#deleteCheckpoints(snapshot);
        await this.#save(snapshot, { root, incomplete: "checkpoint" });
      }
      await this.#target.flush({ signal: this.#options.signal });
      this.#flushMs = nowMs;
      checkpoint.savedMs = isCheckpointDue ? nowMs : checkpoint.savedMs;
    } finally {
      this.#committing = false;
    }
  }

  /** Puts a copy of the manifest with another root; members and labels that varve does not know stay. */
  async #save(
    { id }: SavedSnapshot,
    { root, incomplete }: { readonly root: DirectoryEntry; readonly incomplete?: string },
  ): Promise<ManifestId> {
    const { signal } = this.#options;
    const { labels, payload } = await this.#source.manifests.get(id, { signal });
    const { root: from } = await loadSnapshot(this.#source, id, { signal });
    const replaced = ["rootentry", "incomplete", COPIED_FROM.toLowerCase()].concat(
      incomplete === undefined ? [] : ["pins"], // a pin on a checkpoint would keep it for ever
    );
    const kept = Object.entries(payload as object).filter(
      ([key]) => !replaced.includes(key.toLowerCase()),
    ); // loadSnapshot has seen that it is an object
    return await this.#target.manifests.put(
      labels,
      {
        ...Object.fromEntries(kept),
        incomplete,
        rootEntry: entryToJson(root),
        [COPIED_FROM]: { repository: this.#sourceId(), root: from.object },
      },
      { signal },
    );
  }

  async #deleteCheckpoints(snapshot: SavedSnapshot): Promise<void> {
    const { signal } = this.#options;
    const target = this.#target;
    const { snapshots } = await listSnapshots(target, { source: snapshot.source }, { signal });
    const unfinished = snapshots.filter(
      ({ startTimeNs, incomplete }) =>
        startTimeNs === snapshot.startTimeNs && incomplete === "checkpoint",
    );
    for (const { copy } of await this.#copiesAmong(unfinished, snapshot)) {
      await deleteSnapshot(target, copy.id, { signal });
    }
  }

  /** The newest copy of each source holds most of what the next one needs. */
  async #learnFrom(source: SnapshotSource, there: readonly SavedSnapshot[]): Promise<void> {
    const name = formatSource(source);
    if (this.#learned.has(name)) {
      return;
    }
    this.#learned.add(name);
    const complete = there.filter(({ incomplete }) => incomplete === undefined);
    for (const { original, copy } of (await this.#copiesAmong(complete)).slice(-1)) {
      await this.#objects.learn(original, copy.root, { signal: this.#options.signal });
    }
  }

  /** Those that are copies out of this source repository, with the root they were made of; of `snapshot` alone when it is given. */
  async #copiesAmong(
    snapshots: readonly SavedSnapshot[],
    snapshot?: SavedSnapshot,
  ): Promise<readonly { original: DirectoryEntry; copy: SavedSnapshot }[]> {
    const copies: { original: DirectoryEntry; copy: SavedSnapshot }[] = [];
    for (const copy of snapshots) {
      const object = await this.#originOf(copy.id);
      if (object !== undefined && (snapshot === undefined || snapshot.root.object === object)) {
        copies.push({ original: { ...copy.root, object }, copy });
      }
    }
    return copies;
  }

  async #originOf(id: ManifestId): Promise<ObjectId | undefined> {
    const { payload } = await this.#target.manifests.get(id, { signal: this.#options.signal });
    try {
      const from = new JsonRecord(payload, "snapshot").record(COPIED_FROM);
      return from?.string("repository") === this.#sourceId()
        ? parseObjectId(from.requireString("root"))
        : undefined;
    } catch {
      return undefined; // information only: then nothing is learned from it
    }
  }

  #sourceId(): string {
    return toHex(this.#source.format.uniqueId);
  }
}

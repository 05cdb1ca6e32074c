import { VarveError } from "../base/errors.ts";
import { msToNs } from "../base/time.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import { loadPolicyTree } from "../policy/policy-tree.ts";
import { applyRetention } from "../policy/retention.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { Snapshot } from "../snapshot/snapshot-manifest.ts";
import { compareStart, listSnapshots, saveSnapshot } from "../snapshot/snapshots.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import { Actions } from "./actions.ts";
import { adoptPacks } from "./adopt-packs.ts";
import { Checkpoints, MAX_CHECKPOINT_INTERVAL_MS } from "./checkpoints.ts";
import { UploadSession } from "./session.ts";
import { TreeMemory } from "./tree-memory.ts";
import { TreeUpload } from "./tree-upload.ts";
import type { UploadOptions, UploadReport } from "./upload-options.ts";

/**
 * Makes a snapshot of a tree (behaviour §1): what is unchanged since earlier snapshots is taken from them, the rest is
 * read, and the snapshot's manifest is committed last. What cannot be read is missing from the snapshot and listed in
 * the report; only a root that cannot be read, an essential action of it that fails, storage that fails and `signal` make the call fail, and
 * then there is no snapshot but the latest checkpoint. Throws `source-failed`, `action-failed`, `invalid-argument`, `read-only` and what storage throws.
 */
export async function upload(
  repository: Repository,
  options: UploadOptions,
): Promise<UploadReport> {
  checkOptions(repository, options);
  const session = new UploadSession(repository, options);
  return session.run(() => uploadInSession(session, options));
}

async function uploadInSession(
  session: UploadSession,
  options: UploadOptions,
): Promise<UploadReport> {
  const { repository, signal, tally } = session;
  if (options.resumes === true) {
    await adoptPacks(repository, { signal });
  }
  const opened = TreeMemory.open(repository, options.source);
  using _ahead = options.root.expect?.(opened.then((found) => found?.expected() ?? []));
  const [policy, previous, memory] = await Promise.all([
    options.policy ?? loadPolicyTree(repository, options.source, { signal }),
    options.previous ?? findPrevious(repository, options, signal),
    opened,
    options.checkPacks === false ? undefined : auditPacks(session),
  ]);
  const draft = new SnapshotDraft(session, options);
  const checkpoints = new Checkpoints(session, {
    intervalMs: options.checkpointIntervalMs ?? MAX_CHECKPOINT_INTERVAL_MS,
    save: async (root) => {
      if (root !== undefined) {
        await commit(session, draft.make(root, "checkpoint"), policy);
      } else {
        await repository.flush({ signal });
      }
    },
  });
  const actions = new Actions(session, options);
  const tree = new TreeUpload(session, {
    actions,
    parallelJobs: parallelJobs(repository, options, policy),
    checkpoints,
    forceHashPercent: options.forceHashPercent ?? 0,
    memory,
  });
  const root = await storeWithActions(actions, { root: options.root, policy }, (source) =>
    tree.store(source, policy, directoriesOf(previous)),
  );
  session.enterPhase("saving");
  let snapshot = draft.make(root, session.stopReason);
  if (session.stopReason === undefined && memory !== undefined) {
    session.track(memory.save()); // beside the commit: if that fails, what is remembered is of no snapshot, and as good as none
  }
  const saved = !(
    policy.effective.retention?.ignoreIdenticalSnapshots === true && isIdentical(snapshot, previous)
  );
  if (saved) {
    snapshot = await commit(session, snapshot, policy);
  } else {
    await repository.flush({ signal });
  }
  session.enterPhase("done");
  return {
    snapshot,
    saved,
    errors: tally.errors,
    stats: snapshot.stats,
    contentStats: session.contentStats(),
    lost: { ...session.lost, storedAnew: session.countStoredAnew() },
    skipped: { ...tally.skipped },
    expired: tally.expired,
    checkpoints: tally.checkpoints,
  };
}

/** Whatever happens, the commands that undo what others did are run. */
async function storeWithActions(
  actions: Actions,
  { root, policy }: { readonly root: SourceEntry; readonly policy: PolicyTree },
  store: (source: SourceEntry) => Promise<DirectoryEntry>,
): Promise<DirectoryEntry> {
  const isDirectory = root.meta.type === "directory";
  try {
    const place = { source: root, path: "", policy };
    const bracket = isDirectory ? await actions.begin("snapshot-root", place) : undefined;
    return await store(bracket?.source ?? root);
  } finally {
    await actions.endAll();
  }
}

async function auditPacks(session: UploadSession): Promise<void> {
  session.lost = await session.repository.contents.auditPacks({ signal: session.signal });
}

/** Saves the manifest, lets retention look at the source, and makes both durable at once. */
async function commit(
  session: UploadSession,
  snapshot: Snapshot,
  policy: PolicyTree,
): Promise<Snapshot> {
  const { repository, signal, tally } = session;
  const saved = await saveSnapshot(repository, snapshot, { signal });
  const { source } = saved;
  const expired = await applyRetention(repository, {
    source,
    policy: policy.effective,
    signal,
  });
  tally.expired += expired.length;
  await repository.flush({ signal });
  return saved;
}

/** What of the manifest is known before the tree is stored. */
class SnapshotDraft {
  readonly #session: UploadSession;
  readonly #options: UploadOptions;
  readonly #startTimeNs: bigint;

  constructor(session: UploadSession, options: UploadOptions) {
    this.#session = session;
    this.#options = options;
    this.#startTimeNs = this.#nowNs();
  }

  make(root: DirectoryEntry, incomplete: string | undefined): Snapshot {
    const { source, description, tags, bareTags, pins } = this.#options;
    return {
      source,
      description: description ?? "",
      ...this.#times(),
      stats: { ...this.#session.tally.stats },
      ...(incomplete === undefined ? {} : { incomplete }),
      root,
      tags: tags ?? {},
      ...(bareTags === undefined ? {} : { bareTags }),
      // A pin on a checkpoint would keep it for ever.
      pins: incomplete === "checkpoint" ? [] : [...new Set(pins ?? [])].sort(),
    };
  }

  #times(): { startTimeNs: bigint; endTimeNs: bigint } {
    const endedNs = this.#nowNs();
    const { startTimeNs, endTimeNs } = this.#options;
    const durationNs = endedNs - this.#startTimeNs;
    if (startTimeNs === undefined && endTimeNs === undefined) {
      return { startTimeNs: this.#startTimeNs, endTimeNs: endedNs };
    }
    const start = startTimeNs ?? (endTimeNs ?? endedNs) - durationNs;
    return { startTimeNs: start, endTimeNs: endTimeNs ?? start + durationNs };
  }

  #nowNs(): bigint {
    return msToNs(this.#session.repository.environment.nowMs());
  }
}

/** The newest complete snapshot of the source and every incomplete one that started after it (behaviour §1.2). */
async function findPrevious(
  repository: Repository,
  { source }: UploadOptions,
  signal: AbortSignal,
): Promise<readonly Snapshot[]> {
  const { snapshots } = await listSnapshots(repository, { source }, { signal });
  const complete = snapshots.findLastIndex((snapshot) => snapshot.incomplete === undefined);
  return snapshots.slice(Math.max(0, complete));
}

/** Newest first. */
function directoriesOf(previous: readonly Snapshot[]): readonly ObjectId[] {
  const roots = [...previous]
    .sort((a, b) => compareStart(b, a))
    .flatMap(({ root }) => (root.type === "directory" ? [root.object] : []));
  return [...new Set(roots)];
}

function isIdentical(snapshot: Snapshot, previous: readonly Snapshot[]): boolean {
  const complete = previous
    .filter((earlier) => earlier.incomplete === undefined)
    .sort(compareStart)
    .at(-1);
  return snapshot.incomplete === undefined && complete?.root.object === snapshot.root.object;
}

function parallelJobs(repository: Repository, options: UploadOptions, policy: PolicyTree): number {
  const most = repository.executor.parallelJobs;
  const wanted = options.parallel ?? policy.effective.upload?.maxParallelFileReads ?? most;
  return Math.max(1, Math.min(most, wanted));
}

function checkOptions(repository: Repository, options: UploadOptions): void {
  if (repository.readOnly) {
    throw new VarveError("read-only", "upload: the repository is open for reading only");
  }
  const { startTimeNs, endTimeNs } = options;
  const { checkpointIntervalMs = 0, forceHashPercent = 0 } = options;
  const problem = !(checkpointIntervalMs <= MAX_CHECKPOINT_INTERVAL_MS)
    ? "the checkpoint interval is longer than 45 minutes"
    : !(forceHashPercent >= 0 && forceHashPercent <= 100)
      ? `forceHashPercent ${forceHashPercent} is not from 0 to 100`
      : startTimeNs !== undefined && endTimeNs !== undefined && startTimeNs > endTimeNs
        ? "the start time is after the end time"
        : undefined;
  if (problem !== undefined) {
    throw new VarveError("invalid-argument", `upload: ${problem}`);
  }
}

import type { CallOptions } from "../base/environment.ts";
import { errorMessage, VarveError } from "../base/errors.ts";
import { RUNTIME_BYTES } from "../base/memory-plan.ts";
import { openCrypto } from "../crypto/registry.ts";
import {
  cleanUpMarkers,
  advanceWatermark,
  deleteSupersededIndexes,
} from "../epoch/cleanup-epochs.ts";
import {
  advanceEpoch,
  compactRange,
  compactSingleEpoch,
  type CompactOptions,
} from "../epoch/compact-epochs.ts";
import { cleanUpLegacyIndexes, compactLegacyIndexes } from "../epoch/compact-legacy.ts";
import { rememberList } from "../blob/remember-list.ts";
import { keepFormatCopy } from "../format/format-copy.ts";
import { retainingStore } from "../format/retaining-store.ts";
import { createSealer } from "../format/sealer.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import type { Repository } from "../repository/repository.ts";
import { cleanUpLogs } from "./clean-up-logs.ts";
import { deleteUnreferencedPacks } from "./delete-packs.ts";
import { dropCutoffMs, dueMode, mayDeletePacks, mayRewrite } from "./due.ts";
import { freeWithoutWriting } from "./emergency.ts";
import { extendRetention } from "./extend-retention.ts";
import {
  clientName,
  getMaintenance,
  type MaintenanceParameters,
} from "../repository/maintenance-parameters.ts";
import { contentsOfShortPacks, rewriteContents } from "./rewrite-contents.ts";
import { MAX_CLOCK_SKEW_MS, SAFETY, type Safety, type SafetyMargins } from "./safety.ts";
import {
  type MaintenanceSchedule,
  readSchedule,
  RECORDED_LATER,
  type ScheduleDeps,
  type TaskName,
  withRun,
  writeSchedule,
} from "./schedule.ts";
import { collectSnapshotGarbage } from "./snapshot-gc.ts";
import { maintenanceStatus } from "./status.ts";

/**
 * Maintenance (behaviour §4): what keeps a repository small and quick in the years after the backup. One owner runs it, beside
 * any number of clients that know nothing of it; every step is safe by itself, is recorded when it is done or, where no rule looks
 * at when it was, with the next one, and may be killed anywhere: the next run goes on. The first step that fails ends the run.
 */

export interface MaintenanceOptions extends CallOptions {
  /**
   * `auto` runs what is due; `emergency` is for a store that is full: it deletes first and moves nothing. Default `auto`.
   */
  readonly mode?: "auto" | "quick" | "full" | "emergency" | undefined;
  /** Default `full`; `none` frees space at once and is right only while no other client is active. */
  readonly safety?: Safety | undefined;
  /** Also when somebody else is the owner. */
  readonly force?: boolean | undefined;
  /** Called when a step begins. */
  readonly onTask?: ((task: TaskName) => void) | undefined;
}

export interface TaskReport {
  readonly task: TaskName;
  /** What the step counted; none when it was left out. */
  readonly counts?: Readonly<Record<string, number>> | undefined;
  /** Why it was left out. */
  readonly skipped?: string | undefined;
}

export interface MaintenanceReport {
  /** `none` when nothing was due. */
  readonly mode: "none" | "quick" | "full" | "emergency";
  /** Nothing was done: another process of this machine is at it. */
  readonly busy?: true | undefined;
  readonly tasks: readonly TaskReport[];
}

/**
 * Throws `not-owner`, `read-only`, `corrupt` while a part of the index cannot be read, `storage-failed` when clocks differ too
 * much, what a step throws, and the signal's reason.
 * Discards nothing that is pending: it is flushed with the rest.
 */
export async function runMaintenance(
  repository: Repository,
  options: MaintenanceOptions = {},
): Promise<MaintenanceReport> {
  const { signal, force = false, mode: asked = "auto" } = options;
  if (repository.readOnly) {
    throw new VarveError("read-only", "the repository was opened read-only");
  }
  if (asked === "auto" && !(await isDue(repository, options))) {
    return { mode: "none", tasks: [] };
  }
  const { format, environment } = repository;
  const crypto = await openCrypto({ hashes: [format.hash] });
  const store = retainingStore(repository.blobs, { retention: format.retention, environment });
  const deps: ScheduleDeps = { store, format, crypto, environment };
  const [schedule] = await Promise.all([
    readSchedule(deps, { signal }),
    repository.refresh({ signal }),
  ]);
  requireWholeIndex(repository, "maintenance does not run");
  const parameters = await getMaintenance(repository, { signal });
  requireOwner(repository, parameters, force);
  if (schedule.damage !== undefined) {
    const message = `the history of maintenance is damaged and begins anew: ${schedule.damage.message}`;
    environment.log({ level: "warning", message });
  }
  const mode = asked === "auto" ? dueMode(schedule, parameters, environment.nowMs()) : asked;
  if (mode === "none") {
    return { mode, tasks: [] };
  }
  const sealer = createSealer(format, {
    crypto,
    randomBytes: (size) => environment.randomBytes(size),
  });
  const run = new MaintenanceRun({
    repository,
    parameters,
    deps,
    index: { store, sealer, format, environment, bound: compactionBound(repository) },
    margins: SAFETY[options.safety ?? "full"],
    schedule,
    options,
  });
  if (mode === "emergency") {
    await run.freeFirst();
  }
  await run.start(mode === "quick" ? "quick" : "full");
  if (mode === "full") {
    await keepFormatCopy(store, format.rawFormatBlob, { signal }); // Kopia may have changed the password
  }
  await run[mode]();
  await run.finish();
  return { mode, tasks: run.tasks };
}

/** Nothing but the index is held while index blobs are merged. */
function compactionBound(repository: Repository): CompactOptions["bound"] {
  const { limitBytes, indexBytes } = repository.memory;
  return limitBytes === undefined
    ? undefined
    : {
        maxBytes: limitBytes - RUNTIME_BYTES - indexBytes,
        openScratch: () => repository.openScratch(),
      };
}

/** By the index as this client has it: after each backup this must cost one request, and not a listing of indexes. */
async function isDue(
  repository: Repository,
  { force = false, signal }: MaintenanceOptions,
): Promise<boolean> {
  const { schedule, parameters } = await maintenanceStatus(repository, { signal });
  requireOwner(repository, parameters, force);
  return dueMode(schedule, parameters, repository.environment.nowMs()) !== "none";
}

function requireOwner(
  repository: Repository,
  parameters: MaintenanceParameters | undefined,
  force: boolean,
): asserts parameters is MaintenanceParameters {
  const me = clientName(repository.client);
  if (parameters === undefined) {
    throw new VarveError("not-owner", "nobody owns the maintenance of this repository yet");
  }
  if (parameters.owner !== me && !force) {
    throw new VarveError(
      "not-owner",
      `maintenance must be run by ${parameters.owner}, and this is ${me}`,
    );
  }
}

interface RunParts {
  readonly repository: Repository;
  readonly parameters: MaintenanceParameters;
  readonly deps: ScheduleDeps;
  readonly index: CompactOptions;
  readonly margins: SafetyMargins;
  readonly schedule: MaintenanceSchedule;
  readonly options: MaintenanceOptions;
}

class MaintenanceRun {
  readonly tasks: TaskReport[] = [];
  readonly #parts: RunParts;
  readonly #signal: AbortSignal | undefined;
  #schedule: MaintenanceSchedule;
  /** For the steps on epochs, which come one after another. */
  readonly #epochs: CompactOptions;
  #isUnsaved = false;
  /** By storage's clock. */
  #startMs = 0;
  /** Deleted entries from before are gone from storage. */
  #droppedBeforeSeconds = 0;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#schedule = parts.schedule;
    this.#signal = parts.options.signal;
    this.#epochs = { ...parts.index, store: rememberList(parts.index.store, "x") };
  }

  /** Moves the next times on before anything is done, so that a step that crashes does not come back at once. */
  async start(mode: "quick" | "full"): Promise<void> {
    const { parameters, deps } = this.#parts;
    const nowMs = deps.environment.nowMs();
    const nextQuickMs = nowMs + parameters.quick.intervalMs;
    const nextFullMs =
      mode === "full" ? nowMs + parameters.full.intervalMs : this.#schedule.nextFullMs;
    this.#schedule = { ...this.#schedule, nextFullMs, nextQuickMs };
    const { mtimeMs } = await this.#save();
    const skewMs = Math.abs(mtimeMs - deps.environment.nowMs());
    if (skewMs > MAX_CLOCK_SKEW_MS) {
      throw new VarveError(
        "storage-failed",
        `the clocks of storage and of this machine differ by ${Math.round(skewMs / 1000)} s: ages cannot be trusted, set them right`,
      );
    }
    this.#startMs = mtimeMs;
  }

  async quick(): Promise<void> {
    if (this.#parts.index.format.epochs.enabled) {
      await this.#compactSingle();
      await this.#advance();
    } else {
      await this.#rewrite("quick-rewrite-contents");
      await this.#deletePacks("quick-delete-blobs");
      await this.#compactLegacy();
      await this.#cleanLogs();
    }
  }

  /** Before the schedule is written, which takes space. */
  async freeFirst(): Promise<void> {
    const { repository, index, margins, parameters } = this.#parts;
    const done = await freeWithoutWriting(repository, {
      index,
      margins,
      schedule: this.#schedule,
      logRetention: parameters.logRetention,
      signal: this.#signal,
    });
    this.tasks.push(...done);
  }

  /** Rewriting is left out: what it moves takes space twice, for hours. */
  async emergency(): Promise<void> {
    await this.#collect();
    await this.#drop();
    await this.#deletePacks("full-delete-blobs");
    await (this.#parts.index.format.epochs.enabled
      ? this.#deleteSuperseded()
      : this.#compactLegacy());
    await this.#cleanLogs();
  }

  async full(): Promise<void> {
    await this.#collect();
    await this.#rewrite("full-rewrite-contents");
    await this.#drop();
    await this.#deletePacks("full-delete-blobs");
    await this.#extendRetention();
    if (this.#parts.index.format.epochs.enabled) {
      await this.#compactSingle();
      await this.#advance();
      await this.#compactRange();
      await this.#cleanMarkers();
      await this.#deleteSuperseded();
    } else {
      await this.#compactLegacy();
    }
    await this.#cleanLogs();
  }

  async #collect(): Promise<void> {
    const { repository, margins } = this.#parts;
    const { minContentAgeMs } = margins;
    await this.#task("snapshot-gc", async () => {
      const found = await collectSnapshotGarbage(repository, {
        startMs: this.#startMs,
        minContentAgeMs,
        signal: this.#signal,
      });
      return {
        snapshots: found.snapshots,
        inUse: found.inUse.count,
        tooRecent: found.tooRecent.count,
        markedDeleted: found.marked.count,
        markedDeletedBytes: found.marked.bytes,
        recovered: found.recovered.count,
        missing: found.missing,
      };
    });
  }

  async #rewrite(task: "quick-rewrite-contents" | "full-rewrite-contents"): Promise<void> {
    const { repository, margins } = this.#parts;
    if (!mayRewrite(this.#schedule, margins)) {
      this.#skip(task, "what the last rewrite left behind has not been deleted yet");
      return;
    }
    const contents = contentsOfShortPacks(repository, {
      startMs: this.#startMs,
      minRewriteAgeMs: margins.minRewriteAgeMs,
      kind: task === "quick-rewrite-contents" ? "q" : undefined,
    });
    if (contents.size === 0) {
      // Not recorded, or deletion would wait for clients to see what has not changed.
      this.#skip(task, "there are no short packs to be put together");
      return;
    }
    await this.#task(task, async () => ({
      ...(await rewriteContents(repository, contents, { signal: this.#signal })),
    }));
  }

  async #drop(): Promise<void> {
    const { index, margins, repository } = this.#parts;
    const task = "full-drop-deleted-content";
    const cutoffMs = dropCutoffMs(this.#schedule, { margins, nowMs: index.environment.nowMs() });
    if (cutoffMs === undefined) {
      this.#skip(task, "two collections with enough time between them have not been run yet");
      return;
    }
    if (!index.format.epochs.enabled) {
      // Watermarks include their second, and this is the first that is kept.
      await this.#task(task, () => this.#dropLegacy(Math.floor(cutoffMs / 1000) + 1));
      return;
    }
    await this.#task(task, async () => {
      const watermark = Math.floor(cutoffMs / 1000);
      const moved = await advanceWatermark(index, watermark, { signal: this.#signal });
      await repository.refresh({ signal: this.#signal });
      return { watermark, moved: moved ? 1 : 0 };
    });
  }

  async #dropLegacy(dropBeforeSeconds: number): Promise<Readonly<Record<string, number>>> {
    const { index, repository } = this.#parts;
    const { maxPackSize } = repository.format;
    const signal = this.#signal;
    const done = await compactLegacyIndexes(index, { maxPackSize, dropBeforeSeconds, signal });
    // No index has these entries any more; the one in memory, which only grows, still has.
    this.#droppedBeforeSeconds = dropBeforeSeconds;
    await repository.refresh({ signal });
    return { blobs: done?.inputs.length ?? 0, dropped: done?.dropped ?? 0 };
  }

  async #compactLegacy(): Promise<void> {
    const { index, repository, margins } = this.#parts;
    const { maxPackSize } = repository.format;
    const signal = this.#signal;
    await this.#task("index-compaction", async () => {
      const done = await compactLegacyIndexes(index, { maxPackSize, signal });
      const deleted = await cleanUpLegacyIndexes(index, {
        nowMs: this.#startMs,
        settleMs: margins.indexSettleMs,
        signal,
      });
      return { blobs: done?.inputs.length ?? 0, deletedBlobs: deleted.blobs };
    });
  }

  async #deletePacks(task: "quick-delete-blobs" | "full-delete-blobs"): Promise<void> {
    const { repository, margins, index } = this.#parts;
    if (!mayDeletePacks(this.#schedule, { margins, nowMs: this.#startMs })) {
      this.#skip(
        task,
        "contents were moved a short while ago, and clients may still read the old packs",
      );
      return;
    }
    await this.#task(task, async () => {
      const { blobs, bytes, kept } = await deleteUnreferencedPacks(repository, {
        startMs: this.#startMs,
        margins,
        sealer: index.sealer,
        kinds: task === "quick-delete-blobs" ? ["q"] : undefined,
        droppedBeforeSeconds: this.#droppedBeforeSeconds,
        signal: this.#signal,
      });
      return { blobs, bytes, keptBlobs: kept.blobs, keptBytes: kept.bytes };
    });
  }

  async #extendRetention(): Promise<void> {
    const { repository, parameters } = this.#parts;
    const { retention } = repository.format;
    const task = "extend-blob-retention-time";
    if (!parameters.extendObjectLocks || retention === undefined) {
      this.#skip(task, "object locks are not extended in this repository");
      return;
    }
    await this.#task(task, () => extendRetention(repository, retention, { signal: this.#signal }));
  }

  async #compactSingle(): Promise<void> {
    await this.#task("compact-single-epoch", async () => {
      const done = await compactSingleEpoch(this.#epochs, { signal: this.#signal });
      return { epochs: done === undefined ? 0 : 1, blobs: done?.inputs.length ?? 0 };
    });
  }

  async #advance(): Promise<void> {
    await this.#task("advance-epoch", async () => {
      const epoch = await advanceEpoch(this.#epochs, { signal: this.#signal });
      return epoch === undefined ? { advanced: 0 } : { advanced: 1, epoch };
    });
  }

  async #compactRange(): Promise<void> {
    await this.#task("generate-epoch-range-index", async () => {
      const done = await compactRange(this.#epochs, { signal: this.#signal });
      const epochs = done === undefined ? 0 : done.last - done.first + 1;
      return { epochs, blobs: done?.inputs.length ?? 0 };
    });
  }

  async #cleanMarkers(): Promise<void> {
    await this.#task("cleanup-epoch-markers", async () => {
      const deleted = await cleanUpMarkers(this.#epochs, { signal: this.#signal });
      return { blobs: deleted.length };
    });
  }

  async #deleteSuperseded(): Promise<void> {
    await this.#task("delete-superseded-epoch-indexes", async () => {
      const deleted = await deleteSupersededIndexes(this.#epochs, { signal: this.#signal });
      return { blobs: deleted.length };
    });
  }

  async #cleanLogs(): Promise<void> {
    const { repository, parameters } = this.#parts;
    await this.#task("cleanup-logs", () =>
      cleanUpLogs(repository.blobs, parameters.logRetention, {
        startMs: this.#startMs,
        signal: this.#signal,
      }),
    );
  }

  #skip(task: TaskName, skipped: string): void {
    this.tasks.push({ task, skipped });
  }

  /** Runs a step and records it, also when it fails. */
  async #task(
    task: TaskName,
    work: () => Promise<Readonly<Record<string, number>>>,
  ): Promise<void> {
    const { environment } = this.#parts.deps;
    this.#signal?.throwIfAborted();
    this.#parts.options.onTask?.(task);
    const startMs = environment.nowMs();
    try {
      const counts = await work();
      this.tasks.push({ task, counts });
    } catch (error) {
      const run = {
        startMs,
        endMs: environment.nowMs(),
        success: false,
        error: errorMessage(error),
      };
      this.#schedule = withRun(this.#schedule, task, run);
      await this.#save().catch(() => {}); // the step's own failure is what must be seen
      throw error;
    }
    this.#schedule = withRun(this.#schedule, task, {
      startMs,
      endMs: environment.nowMs(),
      success: true,
    });
    this.#isUnsaved = true;
    if (!RECORDED_LATER.has(task)) {
      await this.#save();
    }
  }

  /** Records what is not recorded yet. */
  async finish(): Promise<void> {
    if (this.#isUnsaved) {
      await this.#save();
    }
  }

  #save(): ReturnType<typeof writeSchedule> {
    this.#isUnsaved = false;
    return writeSchedule(this.#parts.deps, this.#schedule, { signal: this.#signal });
  }
}

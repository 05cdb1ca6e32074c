import type { CompactOptions } from "../epoch/compact-epochs.ts";
import type { BitSet } from "../base/bit-set.ts";
import { VarveError } from "../base/errors.ts";
import { rememberList } from "../blob/remember-list.ts";
import {
  cleanUpMarkers,
  advanceWatermark,
  deleteSupersededIndexes,
} from "../epoch/cleanup-epochs.ts";
import { advanceEpoch, compactRange, compactSingleEpoch } from "../epoch/compact-epochs.ts";
import { cleanUpLegacyIndexes, compactLegacyIndexes } from "../epoch/compact-legacy.ts";
import type { MaintenanceParameters } from "../repository/maintenance-parameters.ts";
import type { Repository } from "../repository/repository.ts";
import type { Allowance } from "./allowance.ts";
import { cleanUpLogs } from "./clean-up-logs.ts";
import { deleteUnreferencedPacks } from "./delete-packs.ts";
import { deletionCounts, lockedCounts } from "./deletion-counts.ts";
import { dropCutoffMs, mayDeletePacks, mayRewrite } from "./due.ts";
import { stepsWithoutWriting } from "./emergency.ts";
import { extendRetention } from "./extend-retention.ts";
import type { Rehearsal } from "./rehearsal-store.ts";
import { contentsOfShortPacks, rewriteContents } from "./rewrite-contents.ts";
import { MAX_CLOCK_SKEW_MS, type SafetyMargins } from "./safety.ts";
import type { ScheduleDeps } from "./schedule.ts";
import { collectSnapshotGarbage } from "./snapshot-gc.ts";
import type { TaskLog } from "./task-log.ts";

/** The steps of maintenance: what each may do now, and in which order they come (behaviour §4.2). */

export interface StepsParts {
  readonly repository: Repository;
  readonly parameters: MaintenanceParameters;
  readonly deps: ScheduleDeps;
  readonly index: CompactOptions;
  readonly margins: SafetyMargins;
  readonly log: TaskLog;
  readonly signal: AbortSignal | undefined;
  readonly allowance: Allowance | undefined;
  readonly rehearsal: Rehearsal | undefined;
}

/** Each method of a name that stands in the history is one step; the others are the orders in which they come. */
export class MaintenanceSteps {
  readonly #parts: StepsParts;
  readonly #log: TaskLog;
  readonly #signal: AbortSignal | undefined;
  /** For the steps on epochs, which come one after another. */
  readonly #epochs: CompactOptions;
  /** By storage's clock. */
  #startMs = 0;
  /** Deleted entries from before are gone from storage. */
  #droppedBeforeSeconds = 0;

  constructor(parts: StepsParts) {
    this.#parts = parts;
    this.#log = parts.log;
    this.#signal = parts.signal;
    this.#epochs = { ...parts.index, store: rememberList(parts.index.store, "x") };
  }

  /** Moves the next times on before anything is done, so that a step that crashes does not come back at once. */
  async start(mode: "quick" | "full"): Promise<void> {
    const { parameters, deps } = this.#parts;
    const nowMs = deps.environment.nowMs();
    const nextQuickMs = nowMs + parameters.quick.intervalMs;
    const nextFullMs =
      mode === "full" ? nowMs + parameters.full.intervalMs : this.#log.schedule.nextFullMs;
    this.#log.schedule = { ...this.#log.schedule, nextFullMs, nextQuickMs };
    const { mtimeMs } = await this.#log.save();
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
    const { repository, index, margins, parameters, rehearsal } = this.#parts;
    const steps = await stepsWithoutWriting(repository, {
      index,
      margins,
      schedule: this.#log.schedule,
      logRetention: parameters.logRetention,
      signal: this.#signal,
    });
    rehearsal?.onStep("open");
    for (const { task, work } of steps) {
      await this.#log.runUnrecorded(task, work);
    }
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
    await this.#log.run("snapshot-gc", async () => {
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
    if (!mayRewrite(this.#log.schedule, margins)) {
      this.#log.skip(task, "what the last rewrite left behind has not been deleted yet");
      return;
    }
    const contents = contentsOfShortPacks(repository, {
      startMs: this.#startMs,
      minRewriteAgeMs: margins.minRewriteAgeMs,
      kind: task === "quick-rewrite-contents" ? "q" : undefined,
    });
    if (contents.size === 0) {
      // Not recorded, or deletion would wait for clients to see what has not changed.
      this.#log.skip(task, "there are no short packs to be put together");
      return;
    }
    await this.#log.run(task, () => this.#move(contents));
  }

  async #move(contents: BitSet): Promise<Readonly<Record<string, number>>> {
    const { repository, allowance, rehearsal } = this.#parts;
    const signal = this.#signal;
    if (rehearsal === undefined) {
      return { ...(await rewriteContents(repository, contents, { allowance, signal })) };
    }
    rehearsal.store.skipsPacks = true;
    try {
      return { ...(await rewriteContents(repository, contents, { isRehearsal: true, signal })) };
    } finally {
      rehearsal.store.skipsPacks = false;
    }
  }

  async #drop(): Promise<void> {
    const { index, margins, repository } = this.#parts;
    const task = "full-drop-deleted-content";
    const cutoffMs = dropCutoffMs(this.#log.schedule, {
      margins,
      nowMs: index.environment.nowMs(),
    });
    if (cutoffMs === undefined) {
      this.#log.skip(task, "two collections with enough time between them have not been run yet");
      return;
    }
    if (!index.format.epochs.enabled) {
      // Watermarks include their second, and this is the first that is kept.
      await this.#log.run(task, () => this.#dropLegacy(Math.floor(cutoffMs / 1000) + 1));
      return;
    }
    await this.#log.run(task, async () => {
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
    await this.#log.run("index-compaction", async () => {
      const done = await compactLegacyIndexes(index, { maxPackSize, signal });
      const deleted = await cleanUpLegacyIndexes(index, {
        nowMs: this.#startMs,
        settleMs: margins.indexSettleMs,
        signal,
      });
      const { blobs: deletedBlobs, ...others } = deletionCounts(deleted);
      return { blobs: done?.inputs.length ?? 0, deletedBlobs: deletedBlobs ?? 0, ...others };
    });
  }

  async #deletePacks(task: "quick-delete-blobs" | "full-delete-blobs"): Promise<void> {
    const { repository, margins, index } = this.#parts;
    if (!mayDeletePacks(this.#log.schedule, { margins, nowMs: this.#startMs })) {
      this.#log.skip(
        task,
        "contents were moved a short while ago, and clients may still read the old packs",
      );
      return;
    }
    await this.#log.run(task, async () => {
      const { blobs, bytes, kept, locked } = await deleteUnreferencedPacks(repository, {
        startMs: this.#startMs,
        margins,
        sealer: index.sealer,
        kinds: task === "quick-delete-blobs" ? ["q"] : undefined,
        droppedBeforeSeconds: this.#droppedBeforeSeconds,
        signal: this.#signal,
      });
      return {
        ...{ blobs, bytes, keptBlobs: kept.blobs, keptBytes: kept.bytes },
        ...lockedCounts(locked),
      };
    });
  }

  async #extendRetention(): Promise<void> {
    const { repository, parameters } = this.#parts;
    const { retention } = repository.format;
    const task = "extend-blob-retention-time";
    if (!parameters.extendObjectLocks || retention === undefined) {
      this.#log.skip(task, "object locks are not extended in this repository");
      return;
    }
    await this.#log.run(task, () =>
      extendRetention(repository, retention, { signal: this.#signal }),
    );
  }

  async #compactSingle(): Promise<void> {
    await this.#log.run("compact-single-epoch", async () => {
      const done = await compactSingleEpoch(this.#epochs, { signal: this.#signal });
      return { epochs: done === undefined ? 0 : 1, blobs: done?.inputs.length ?? 0 };
    });
  }

  async #advance(): Promise<void> {
    await this.#log.run("advance-epoch", async () => {
      const epoch = await advanceEpoch(this.#epochs, { signal: this.#signal });
      return epoch === undefined ? { advanced: 0 } : { advanced: 1, epoch };
    });
  }

  async #compactRange(): Promise<void> {
    await this.#log.run("generate-epoch-range-index", async () => {
      const done = await compactRange(this.#epochs, { signal: this.#signal });
      const epochs = done === undefined ? 0 : done.last - done.first + 1;
      return { epochs, blobs: done?.inputs.length ?? 0 };
    });
  }

  async #cleanMarkers(): Promise<void> {
    await this.#log.run("cleanup-epoch-markers", async () => {
      const deleted = await cleanUpMarkers(this.#epochs, { signal: this.#signal });
      return deletionCounts(deleted);
    });
  }

  async #deleteSuperseded(): Promise<void> {
    await this.#log.run("delete-superseded-epoch-indexes", async () => {
      const deleted = await deleteSupersededIndexes(this.#epochs, { signal: this.#signal });
      return deletionCounts(deleted);
    });
  }

  async #cleanLogs(): Promise<void> {
    const { repository, parameters } = this.#parts;
    await this.#log.run("cleanup-logs", async () => {
      const { logRetention } = parameters;
      const options = { startMs: this.#startMs, signal: this.#signal };
      return deletionCounts(await cleanUpLogs(repository.blobs, logRetention, options));
    });
  }
}

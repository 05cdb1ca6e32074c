import type { UploadSession } from "./session.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { FailedEntry } from "../snapshot/summary.ts";
import { type OpenDirectory, writeDirectory } from "./open-directory.ts";

/** Kopia's longest interval, and its own (behaviour §1.5): what is not referred to for long may be collected. */
export const MAX_CHECKPOINT_INTERVAL_MS: number = 45 * 60 * 1000;

/**
 * Saves what is stored so far from time to time, so that a killed upload need not be done again (behaviour §1.5). Files
 * that are not finished are left out: their stored pieces are found again when they are read again.
 */
export class Checkpoints {
  readonly #session: UploadSession;
  readonly #intervalMs: number;
  readonly #save: (root: DirectoryEntry | undefined) => Promise<void>;
  #dueMs: number;
  /** Left out for a single file. */
  root: OpenDirectory | undefined;

  constructor(
    session: UploadSession,
    options: {
      readonly intervalMs: number;
      /** Makes `root` a snapshot and commits. */
      readonly save: (root: DirectoryEntry | undefined) => Promise<void>;
    },
  ) {
    this.#session = session;
    this.#intervalMs = options.intervalMs;
    this.#save = options.save;
    this.#dueMs = this.#nowMs() + options.intervalMs;
  }

  /** Called where the walk stands between two entries; jobs go on meanwhile. */
  async writeIfDue(): Promise<void> {
    this.#session.flushIfDue();
    if (this.#nowMs() < this.#dueMs || this.#session.stopReason !== undefined) {
      return;
    }
    this.#session.enterPhase("checkpoint");
    const root =
      this.root === undefined ? undefined : await this.#writeState(captureState(this.root));
    await this.#save(root);
    this.#session.tally.checkpoints++;
    this.#session.enterPhase("files");
    this.#dueMs = this.#nowMs() + this.#intervalMs;
  }

  async #writeState(state: DirectoryState): Promise<DirectoryEntry> {
    const { directory, failures } = state;
    const entries = [...state.entries];
    for (const child of state.children) {
      entries.push(await this.#writeState(child));
    }
    const { repository, signal } = this.#session;
    return writeDirectory(repository, directory, {
      entries,
      failures,
      incomplete: "checkpoint",
      signal,
    });
  }

  #nowMs(): number {
    return this.#session.repository.environment.nowMs();
  }
}

interface DirectoryState {
  readonly directory: OpenDirectory;
  readonly entries: readonly DirectoryEntry[];
  readonly failures: readonly FailedEntry[];
  readonly children: readonly DirectoryState[];
}

/** Taken at one moment: a directory that is finished while the checkpoint is written must not stand in it twice. */
function captureState(directory: OpenDirectory): DirectoryState {
  return {
    directory,
    entries: [...directory.entries],
    failures: [...directory.failures],
    children: [...directory.openChildren]
      .filter((child) => child.failure === undefined)
      .map(captureState),
  };
}

import type { CallOptions } from "../base/environment.ts";
import { errorMessage } from "../base/errors.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import type { SourceEntry, UnreadableEntry } from "../source/source-entry.ts";
import { type DirectoryFilter, enterDirectory } from "./directory-filter.ts";

/** What a backup would find: the walk of an upload, without reading a file or looking at earlier snapshots. */

export interface EstimateOptions extends CallOptions {
  readonly root: SourceEntry;
  readonly policy: PolicyTree;
  /** Paths kept for each size class, of what is in and of what is out; default 0. */
  readonly maxExamples?: number | undefined;
  /** Called for each directory; must not throw. */
  readonly onProgress?: ((estimate: SnapshotEstimate, path: string) => void) | undefined;
}

export interface SnapshotEstimate {
  /** Files and symlinks that would be stored. */
  readonly included: EstimateCounts;
  /** Left out by ignore rules, size, file system, or as special files. A directory stands for all that is in it. */
  readonly excluded: EstimateCounts;
  /** Directories that would be stored, the root included. */
  readonly directories: number;
  readonly excludedDirectories: number;
  readonly excludedDirectoryExamples: readonly string[];
  /** What could not be looked at; exact. */
  readonly errorCount: number;
  /** The first hundred of them. */
  readonly errors: readonly { readonly path: string; readonly message: string }[];
}

export interface EstimateCounts {
  readonly files: number;
  readonly bytes: number;
  /** Class `n` holds files of fewer than {@link SIZE_CLASSES}`[n]` bytes and no fewer than the class before. */
  readonly classes: readonly SizeClass[];
}

export interface SizeClass {
  readonly files: number;
  readonly bytes: number;
  readonly examples: readonly string[];
}

/** Upper ends of the size classes, in bytes; the last has none. */
export const SIZE_CLASSES: readonly number[] = [
  1e3,
  1e4,
  1e5,
  1e6,
  1e7,
  1e8,
  1e9,
  1e10,
  Number.POSITIVE_INFINITY,
];
const MAX_ERRORS = 100;

/** Throws `source-failed` or `invalid-argument` when the root itself cannot be listed. */
export async function estimateSnapshot(options: EstimateOptions): Promise<SnapshotEstimate> {
  const { root, policy, signal } = options;
  const counter = new Counter(options);
  if (root.meta.type !== "directory") {
    counter.included.add(root.name, root.meta.sizeBytes);
    return counter.result();
  }
  const pending: Place[] = [{ source: root, policy, path: "", above: undefined }];
  for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
    signal?.throwIfAborted();
    try {
      await visit(place, { counter, pending, options: { signal } });
    } catch (error) {
      signal?.throwIfAborted();
      if (place.source === root) {
        throw error;
      }
      counter.addError(place.path, error);
    }
    options.onProgress?.(counter.result(), place.path);
  }
  return counter.result();
}

interface Place {
  readonly source: SourceEntry;
  readonly policy: PolicyTree;
  readonly path: string;
  readonly above: DirectoryFilter | undefined;
}

async function visit(
  place: Place,
  { counter, pending, options }: { counter: Counter; pending: Place[]; options: CallOptions },
): Promise<void> {
  const { policy, path } = place;
  const entered = await enterDirectory(place, place.above, options);
  counter.directories++;
  if (entered === "cache directory") {
    return;
  }
  using listing = entered.listing;
  const { filter } = entered;
  for await (const child of listing.children()) {
    const at = path === "" ? child.name : `${path}/${child.name}`;
    if (isUnreadable(child)) {
      counter.addError(at, child.error);
    } else if (filter.exclusion(child) !== undefined || child.meta.type === "other") {
      counter.exclude(at, child);
    } else if (child.meta.type === "directory") {
      pending.push({ source: child, policy: policy.child(child.name), path: at, above: filter });
    } else {
      counter.included.add(at, child.meta.sizeBytes);
    }
  }
}

function isUnreadable(child: SourceEntry | UnreadableEntry): child is UnreadableEntry {
  return "error" in child;
}

class Counter {
  readonly included: ClassCounter;
  readonly #excluded: ClassCounter;
  readonly #maxExamples: number;
  readonly #excludedExamples: string[] = [];
  readonly #errors: { path: string; message: string }[] = [];
  directories = 0;
  #excludedDirectories = 0;
  #errorCount = 0;

  constructor({ maxExamples = 0 }: { maxExamples?: number | undefined }) {
    this.#maxExamples = maxExamples;
    this.included = new ClassCounter(maxExamples);
    this.#excluded = new ClassCounter(maxExamples);
  }

  exclude(path: string, { meta }: SourceEntry): void {
    if (meta.type !== "directory") {
      this.#excluded.add(path, meta.sizeBytes);
      return;
    }
    this.#excludedDirectories++;
    if (this.#excludedExamples.length < this.#maxExamples) {
      this.#excludedExamples.push(path);
    }
  }

  addError(path: string, error: unknown): void {
    this.#errorCount++;
    if (this.#errors.length < MAX_ERRORS) {
      this.#errors.push({ path, message: errorMessage(error) });
    }
  }

  result(): SnapshotEstimate {
    return {
      included: this.included,
      excluded: this.#excluded,
      directories: this.directories,
      excludedDirectories: this.#excludedDirectories,
      excludedDirectoryExamples: this.#excludedExamples,
      errorCount: this.#errorCount,
      errors: this.#errors,
    };
  }
}

class ClassCounter implements EstimateCounts {
  files = 0;
  bytes = 0;
  readonly classes: { files: number; bytes: number; examples: string[] }[] = SIZE_CLASSES.map(
    () => ({ files: 0, bytes: 0, examples: [] }),
  );
  readonly #maxExamples: number;

  constructor(maxExamples: number) {
    this.#maxExamples = maxExamples;
  }

  add(path: string, sizeBytes: number): void {
    this.files++;
    this.bytes += sizeBytes;
    const sizeClass = this.classes[SIZE_CLASSES.findIndex((end) => sizeBytes < end)];
    if (sizeClass === undefined) {
      return; // sizes are finite, and the last class has no end
    }
    sizeClass.files++;
    sizeClass.bytes += sizeBytes;
    if (sizeClass.examples.length < this.#maxExamples) {
      sizeClass.examples.push(path);
    }
  }
}

import { compareNames } from "./entry-name.ts";
import type { DirectoryEntry, DirectorySummary } from "./entry.ts";
import type { KeptEntries } from "./kept-entries.ts";

/** Something that could not be stored; its path is relative to the snapshot's root. */
export interface FailedEntry {
  readonly path: string;
  readonly error: string;
  /** The policy says that such errors do not make the snapshot a failure. */
  readonly ignored: boolean;
}

const MAX_ERRORS = 10;

/** The summary before anything was counted. */
export const EMPTY_SUMMARY: DirectorySummary = {
  sizeBytes: 0,
  files: 0,
  symlinks: 0,
  directories: 0,
  maxTimeNs: 0n,
  failed: 0,
  ignoredErrors: 0,
  errors: [],
};

/** The totals of a directory and of everything below it (spec §6.4): its own entries, their summaries, what failed here. */
export function buildSummary(options: {
  readonly entries: readonly DirectoryEntry[];
  /** Counted without a look at each; there is at least one, if any. */
  readonly kept?: KeptEntries | undefined;
  /** The directory's own; only counts when it is empty. */
  readonly mtimeNs: bigint;
  readonly failures?: readonly FailedEntry[] | undefined;
  readonly incomplete?: string | undefined;
}): DirectorySummary {
  const failures = options.failures ?? [];
  const { kept } = options;
  const total: Total = { ...EMPTY_SUMMARY, ...kept?.totals };
  total.maxTimeNs = latest(total.maxTimeNs, EMPTY_SUMMARY.maxTimeNs);
  for (const entry of options.entries) {
    addEntry(total, entry);
  }
  const ignored = failures.filter((failure) => failure.ignored).length;
  return {
    ...total,
    directories: total.directories + 1,
    maxTimeNs:
      options.entries.length === 0 && kept === undefined ? options.mtimeNs : total.maxTimeNs,
    ...(options.incomplete ? { incomplete: options.incomplete } : {}),
    failed: total.failed + failures.length - ignored,
    ignoredErrors: total.ignoredErrors + ignored,
    errors: [...total.errors, ...failures.map(({ path, error }) => ({ path, error }))]
      .sort((a, b) => compareNames(a.path, b.path))
      .slice(0, MAX_ERRORS),
  };
}

type Total = { -readonly [name in keyof DirectorySummary]: DirectorySummary[name] };

/** Counts one more child entry; `errors` are neither sorted nor cut. */
function addEntry(total: Total, entry: DirectoryEntry): void {
  total.maxTimeNs = latest(total.maxTimeNs, entry.mtimeNs);
  if (entry.type === "file") {
    total.files += 1;
    total.sizeBytes += entry.sizeBytes;
  } else if (entry.type === "symlink") {
    total.symlinks += 1;
  } else if (entry.summary !== undefined) {
    const below = entry.summary;
    total.sizeBytes += below.sizeBytes;
    total.files += below.files;
    total.symlinks += below.symlinks;
    total.directories += below.directories;
    total.maxTimeNs = latest(total.maxTimeNs, below.maxTimeNs);
    total.failed += below.failed;
    total.ignoredErrors += below.ignoredErrors;
    total.errors = below.errors.length === 0 ? total.errors : [...total.errors, ...below.errors];
  }
}

/** What Kopia records for the root of a snapshot that is a single file. */
export function singleFileSummary(file: {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
}): DirectorySummary {
  return { ...EMPTY_SUMMARY, files: 1, sizeBytes: file.sizeBytes, maxTimeNs: file.mtimeNs };
}

function latest(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

import { compareNames } from "./entry-name.ts";
import type { DirectoryEntry, DirectorySummary } from "./entry.ts";

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
  /** The directory's own; only counts when it is empty. */
  readonly mtimeNs: bigint;
  readonly failures?: readonly FailedEntry[] | undefined;
  readonly incomplete?: string | undefined;
}): DirectorySummary {
  const failures = options.failures ?? [];
  const total = options.entries.reduce(addToSummary, EMPTY_SUMMARY);
  const ignored = failures.filter((failure) => failure.ignored).length;
  return {
    ...total,
    directories: total.directories + 1,
    maxTimeNs: options.entries.length === 0 ? options.mtimeNs : total.maxTimeNs,
    ...(options.incomplete ? { incomplete: options.incomplete } : {}),
    failed: total.failed + failures.length - ignored,
    ignoredErrors: total.ignoredErrors + ignored,
    errors: [...total.errors, ...failures.map(({ path, error }) => ({ path, error }))]
      .sort((a, b) => compareNames(a.path, b.path))
      .slice(0, MAX_ERRORS),
  };
}

/** `summary` with one more child entry counted; `errors` are neither sorted nor cut. */
function addToSummary(summary: DirectorySummary, entry: DirectoryEntry): DirectorySummary {
  const below = entry.type === "directory" ? (entry.summary ?? EMPTY_SUMMARY) : EMPTY_SUMMARY;
  return {
    sizeBytes: summary.sizeBytes + below.sizeBytes + (entry.type === "file" ? entry.sizeBytes : 0),
    files: summary.files + below.files + (entry.type === "file" ? 1 : 0),
    symlinks: summary.symlinks + below.symlinks + (entry.type === "symlink" ? 1 : 0),
    directories: summary.directories + below.directories,
    maxTimeNs: latest(latest(summary.maxTimeNs, entry.mtimeNs), below.maxTimeNs),
    ...(summary.incomplete === undefined ? {} : { incomplete: summary.incomplete }),
    failed: summary.failed + below.failed,
    ignoredErrors: summary.ignoredErrors + below.ignoredErrors,
    errors: below.errors.length === 0 ? summary.errors : [...summary.errors, ...below.errors],
  };
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

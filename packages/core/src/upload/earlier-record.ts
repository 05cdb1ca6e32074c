import type { ObjectId } from "../object/object-id.ts";
import type { DirectoryRecord } from "../snapshot/directory.ts";
import type { DirectoryEntry, DirectorySummary } from "../snapshot/entry.ts";

/** The stored record of a directory as an earlier snapshot has it, without what is kept of it. */
export interface EarlierRecord {
  readonly object: ObjectId;
  readonly record: DirectoryRecord;
}

/**
 * Whether the record says exactly what one of `entries` and `summary` would say, so that it need not be written again.
 * `entries` may be in any order; those that are not directories must be the record's own, taken over; `summary` is of what is kept, too. When in doubt it does not.
 */
export function saysTheSame(
  { record }: EarlierRecord,
  entries: readonly DirectoryEntry[],
  summary: DirectorySummary,
): boolean {
  if (!record.exact || record.entries.length !== entries.length) {
    return false;
  }
  const found = new Set(entries.filter(({ type }) => type !== "directory"));
  const directories = new Map(
    entries.filter(({ type }) => type === "directory").map((entry) => [entry.name, entry]),
  );
  return (
    record.entries.every((earlier) =>
      earlier.type === "directory"
        ? isSameDirectory(earlier, directories.get(earlier.name))
        : found.has(earlier),
    ) && isSameSummary(record.summary, summary)
  );
}

function isSameDirectory(earlier: DirectoryEntry, now: DirectoryEntry | undefined): boolean {
  return (
    now?.summary !== undefined &&
    earlier.summary !== undefined &&
    now.nameBytes === undefined &&
    earlier.nameBytes === undefined &&
    earlier.object === now.object &&
    earlier.mtimeNs === now.mtimeNs &&
    earlier.mode === now.mode &&
    earlier.uid === now.uid &&
    earlier.gid === now.gid &&
    isSameSummary(earlier.summary, now.summary)
  );
}

function isSameSummary(a: DirectorySummary, b: DirectorySummary): boolean {
  return (
    a.sizeBytes === b.sizeBytes &&
    a.files === b.files &&
    a.symlinks === b.symlinks &&
    a.directories === b.directories &&
    a.maxTimeNs === b.maxTimeNs &&
    a.incomplete === b.incomplete &&
    a.failed === b.failed &&
    a.ignoredErrors === b.ignoredErrors &&
    a.errors.length === 0 &&
    b.errors.length === 0
  );
}

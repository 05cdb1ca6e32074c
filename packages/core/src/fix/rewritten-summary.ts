import type { DirectoryRecord } from "../snapshot/directory.ts";
import type { DirectoryEntry, DirectorySummary } from "../snapshot/entry.ts";
import { buildSummary } from "../snapshot/summary.ts";

/**
 * The summary of a directory with other entries than before. What failed in the directory itself when it was backed up is
 * still missing, and stays told.
 */
export function rewrittenSummary(
  before: DirectoryRecord,
  after: { readonly entries: readonly DirectoryEntry[]; readonly mtimeNs: bigint },
): DirectorySummary {
  const { summary } = before;
  const below = buildSummary({ entries: before.entries, mtimeNs: 0n });
  const told = new Set(below.errors.map(errorKey));
  const own = summary.errors.filter((error) => !told.has(errorKey(error)));
  const counted = buildSummary({
    ...after,
    incomplete: summary.incomplete,
    failures: own.map((failure) => ({ ...failure, ignored: true })),
  });
  return {
    ...counted,
    failed: counted.failed + Math.max(0, summary.failed - below.failed),
    ignoredErrors:
      counted.ignoredErrors - own.length + Math.max(0, summary.ignoredErrors - below.ignoredErrors),
  };
}

function errorKey({ path, error }: { path: string; error: string }): string {
  return JSON.stringify([path, error]);
}

/**
 * The members of a policy: where they stand in its JSON, what type they have, and how a more specific policy's value
 * meets a more general one's (behaviour §2.2). Parsing, merging and `policy show` all follow this one table.
 */

export type FieldType = "integer" | "boolean" | "string" | "strings" | "times" | "action";

/**
 * - `first`: the most specific value that is there wins, 0 and false included.
 * - `first-set`: the most specific that is not 0, "" or [] wins.
 * - `any-true`: true anywhere is true.
 * - `union`: all levels' lists in one, sorted, up to and including a level that sets `stopFlag`.
 * - `own`: not inherited.
 */
export type MergeRule = "first" | "first-set" | "any-true" | "union" | "own";

export interface PolicyField {
  /** Member names from the top of the document. */
  readonly path: readonly string[];
  readonly type: FieldType;
  readonly rule: MergeRule;
  /** The member of the same section that ends a union. */
  readonly stopFlag?: string;
}

function field(path: string, type: FieldType, rule: MergeRule, stopFlag?: string): PolicyField {
  return { path: path.split("."), type, rule, ...(stopFlag === undefined ? {} : { stopFlag }) };
}

/** In the order in which Kopia writes them; `noParent`, which is about inheritance itself, is the last. */
export const POLICY_FIELDS: readonly PolicyField[] = [
  field("retention.keepLatest", "integer", "first"),
  field("retention.keepHourly", "integer", "first"),
  field("retention.keepDaily", "integer", "first"),
  field("retention.keepWeekly", "integer", "first"),
  field("retention.keepMonthly", "integer", "first"),
  field("retention.keepAnnual", "integer", "first"),
  field("retention.ignoreIdenticalSnapshots", "boolean", "first"),
  field("files.ignore", "strings", "first-set"),
  field("files.noParentIgnore", "boolean", "any-true"),
  field("files.ignoreDotFiles", "strings", "first-set"),
  field("files.noParentDotFiles", "boolean", "any-true"),
  field("files.ignoreCacheDirs", "boolean", "first"),
  field("files.maxFileSize", "integer", "first-set"),
  field("files.oneFileSystem", "boolean", "first"),
  field("errorHandling.ignoreFileErrors", "boolean", "first"),
  field("errorHandling.ignoreDirectoryErrors", "boolean", "first"),
  field("errorHandling.ignoreUnknownTypes", "boolean", "first"),
  field("scheduling.intervalSeconds", "integer", "first-set"),
  field("scheduling.timeOfDay", "times", "union", "noParentTimeOfDay"),
  field("scheduling.noParentTimeOfDay", "boolean", "any-true"),
  field("scheduling.manual", "boolean", "any-true"),
  field("scheduling.cron", "strings", "first-set"),
  field("scheduling.runMissed", "boolean", "first"),
  field("compression.compressorName", "string", "first-set"),
  field("compression.onlyCompress", "strings", "union", "noParentOnlyCompress"),
  field("compression.noParentOnlyCompress", "boolean", "any-true"),
  field("compression.neverCompress", "strings", "union", "noParentNeverCompress"),
  field("compression.noParentNeverCompress", "boolean", "any-true"),
  field("compression.minSize", "integer", "first-set"),
  field("compression.maxSize", "integer", "first-set"),
  field("metadataCompression.compressorName", "string", "first-set"),
  field("splitter.algorithm", "string", "first-set"),
  field("actions.beforeFolder", "action", "own"),
  field("actions.afterFolder", "action", "own"),
  field("actions.beforeSnapshotRoot", "action", "first"),
  field("actions.afterSnapshotRoot", "action", "first"),
  field("osSnapshots.volumeShadowCopy.enable", "integer", "first"),
  field("logging.directories.snapshotted", "integer", "first"),
  field("logging.directories.ignored", "integer", "first"),
  field("logging.entries.snapshotted", "integer", "first"),
  field("logging.entries.ignored", "integer", "first"),
  field("logging.entries.cacheHit", "integer", "first"),
  field("logging.entries.cacheMiss", "integer", "first"),
  field("upload.maxParallelSnapshots", "integer", "first"),
  field("upload.maxParallelFileReads", "integer", "first"),
  field("upload.parallelUploadAboveSize", "integer", "first"),
  field("noParent", "boolean", "own"),
];

/** The value at `path` in nested plain objects. */
export function memberAt(document: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, name)
        ? (value as Readonly<Record<string, unknown>>)[name] // an object, checked just now
        : undefined,
    document,
  );
}

/** Nested plain objects, without members that are `undefined`. */
export function nested(
  members: Iterable<readonly [path: readonly string[], value: unknown]>,
): Readonly<Record<string, unknown>> {
  const root: Record<string, unknown> = {};
  for (const [path, value] of members) {
    if (value === undefined) {
      continue;
    }
    let section = root;
    for (const name of path.slice(0, -1)) {
      section = (section[name] ??= {}) as Record<string, unknown>; // only this loop put it there
    }
    section[path.at(-1) ?? ""] = value;
  }
  return root;
}

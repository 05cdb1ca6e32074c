import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { formatTimeNs, parseTimeNs } from "../base/time.ts";
import type { Labels } from "../manifest/manifest-store.ts";
import { entryFromJson, entryToJson } from "./entry-json.ts";
import { nameProblem } from "./entry-name.ts";
import type { DirectoryEntry } from "./entry.ts";
import type { Snapshot, SnapshotSource, SnapshotStats } from "./snapshot-manifest.ts";

/** Snapshot manifests as JSON and as labels (spec §6.2, §6.3). */

export const SNAPSHOT_TYPE = "snapshot";
const TAG_PREFIX = "tag:";

const STAT_NAMES = [
  "totalSize",
  "excludedTotalSize",
  "fileCount",
  "cachedFiles",
  "nonCachedFiles",
  "dirCount",
  "excludedFileCount",
  "excludedDirCount",
  "ignoredErrorCount",
  "errorCount",
] as const satisfies readonly (keyof SnapshotStats)[];

/** The labels by which a source's snapshots are found. */
export function sourceLabels(source: SnapshotSource): Labels {
  return {
    type: SNAPSHOT_TYPE,
    hostname: source.host,
    username: source.userName,
    path: source.path,
  };
}

type Tags = Pick<Snapshot, "tags" | "bareTags">;

/** Tags under the keys that Kopia stores, sorted as Go writes maps. Throws `invalid-argument` for a key that means something else. */
export function storedTags(tags: Tags): Readonly<Record<string, string>> {
  const bare = Object.entries(tags.bareTags ?? {});
  for (const [key] of bare) {
    if (
      ["type", "hostname", "username", "path"].includes(key) ||
      key === "" ||
      key.startsWith(TAG_PREFIX)
    ) {
      throw new VarveError("invalid-argument", `not a tag without prefix: ${JSON.stringify(key)}`);
    }
  }
  const prefixed = Object.entries(tags.tags).map(
    ([key, value]) => [TAG_PREFIX + key, value] as const,
  );
  return Object.fromEntries(
    [...prefixed, ...bare].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
  );
}

/** The manifest's payload, members in Kopia's order; the id is the manifest's own and always "" here. */
export function snapshotToJson(snapshot: Snapshot): object {
  const tags = storedTags(snapshot);
  return {
    id: "",
    source: {
      host: snapshot.source.host,
      userName: snapshot.source.userName,
      path: snapshot.source.path,
    },
    description: snapshot.description,
    startTime: formatTimeNs(snapshot.startTimeNs),
    endTime: formatTimeNs(snapshot.endTimeNs),
    stats: Object.fromEntries(STAT_NAMES.map((name) => [name, snapshot.stats[name]])),
    incomplete: snapshot.incomplete === "" ? undefined : snapshot.incomplete,
    rootEntry: entryToJson(snapshot.root),
    tags: Object.keys(tags).length === 0 ? undefined : tags,
    pins: snapshot.pins.length === 0 ? undefined : snapshot.pins,
  };
}

/** A payload of unknown origin. Throws `corrupt`. */
export function snapshotFromJson(payload: unknown, what: string): Omit<Snapshot, "id"> {
  const json = new JsonRecord(payload, what);
  const source = json.requireRecord("source");
  const incomplete = json.string("incomplete");
  const stored = Object.entries(json.stringMap("tags") ?? {});
  const bare = stored.filter(([key]) => !key.startsWith(TAG_PREFIX));
  return {
    source: {
      host: source.requireString("host"),
      userName: source.requireString("userName"),
      path: source.requireString("path"),
    },
    description: json.string("description") ?? "",
    startTimeNs: parseTimeNs(json.requireString("startTime")),
    endTimeNs: parseTimeNs(json.requireString("endTime")),
    stats: parseStats(json.record("stats")),
    ...(incomplete ? { incomplete } : {}),
    root: parseRoot(json.raw("rootEntry"), what),
    tags: Object.fromEntries(
      stored
        .filter(([key]) => key.startsWith(TAG_PREFIX))
        .map(([key, value]) => [key.slice(TAG_PREFIX.length), value]),
    ),
    ...(bare.length === 0 ? {} : { bareTags: Object.fromEntries(bare) }),
    pins: sortedPins(json.strings("pins") ?? []),
  };
}

export function sortedPins(pins: readonly string[]): readonly string[] {
  return [...new Set(pins)].sort();
}

/** Counts are information: a bad one is 0 and costs nobody the snapshot. */
function parseStats(json: JsonRecord | undefined): SnapshotStats {
  const stat = (name: string): number => {
    const value = json?.raw(name);
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  return {
    totalSize: stat("totalSize"),
    excludedTotalSize: stat("excludedTotalSize"),
    fileCount: stat("fileCount"),
    cachedFiles: stat("cachedFiles"),
    nonCachedFiles: stat("nonCachedFiles"),
    dirCount: stat("dirCount"),
    excludedFileCount: stat("excludedFileCount"),
    excludedDirCount: stat("excludedDirCount"),
    ignoredErrorCount: stat("ignoredErrorCount"),
    errorCount: stat("errorCount"),
  };
}

/**
 * A directory root may be named by a whole path (standard input, `/`), which nothing may use as a path component;
 * the name of a file root becomes one and is checked.
 */
function parseRoot(value: unknown, what: string): DirectoryEntry {
  if (value === undefined) {
    throw new VarveError("corrupt", `${what}: no root entry`);
  }
  const root = entryFromJson(value);
  const problem = root.type === "directory" ? undefined : nameProblem(root);
  if (problem !== undefined) {
    throw new VarveError("corrupt", `${what}: root entry: ${problem}`);
  }
  return root;
}

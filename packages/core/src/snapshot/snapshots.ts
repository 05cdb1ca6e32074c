import type { CallOptions } from "../base/environment.ts";
import { VarveError, isVarveError } from "../base/errors.ts";
import type { Labels, ManifestId } from "../manifest/manifest-store.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "./entry.ts";
import { entryToJson } from "./entry-json.ts";
import {
  SNAPSHOT_TYPE,
  snapshotFromJson,
  snapshotToJson,
  sortedPins,
  sourceLabels,
  storedTags,
} from "./snapshot-json.ts";
import type { Snapshot, SnapshotSource } from "./snapshot-manifest.ts";

/**
 * Snapshots as manifests of a repository: save, find, change, delete (spec §6.2, §6.3). A manifest never changes: an edit is
 * a new manifest with a new id and a tombstone for the old one. Nothing here flushes; the caller decides when to commit.
 */

/** What this file needs of a repository. */
export type ManifestsOf = Pick<Repository, "manifests">;

/** A snapshot that lies in the repository. */
export type SavedSnapshot = Snapshot & { readonly id: ManifestId };

/**
 * Stores a new manifest, whatever `id` says; pending until `flush`. Throws `invalid-argument` for an incomplete source or a
 * reserved tag key.
 */
export async function saveSnapshot(
  repository: ManifestsOf,
  snapshot: Snapshot,
  options: CallOptions = {},
): Promise<SavedSnapshot> {
  const { host, userName, path } = snapshot.source;
  if (host === "" || userName === "" || path === "") {
    throw new VarveError(
      "invalid-argument",
      `a snapshot needs a user, a host and a path: ${formatSource(snapshot.source)}`,
    );
  }
  const stored = { ...snapshot, pins: sortedPins(snapshot.pins) };
  const labels = { ...storedTags(stored), ...sourceLabels(stored.source) };
  const id = await repository.manifests.put(labels, snapshotToJson(stored), options);
  return { ...stored, id };
}

/** Throws `manifest-not-found` (also for a manifest of another type), `corrupt`. */
export async function loadSnapshot(
  repository: ManifestsOf,
  id: ManifestId,
  options: CallOptions = {},
): Promise<SavedSnapshot> {
  const { payload } = await getSnapshotManifest(repository, id, options);
  return { ...snapshotFromJson(payload, `snapshot ${id}`), id };
}

export interface SnapshotFilter {
  readonly source?: SnapshotSource | undefined;
  /** All of them must be equal; keys without the `tag:` prefix. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Like `tags`, of tags stored without the prefix. */
  readonly bareTags?: Readonly<Record<string, string>> | undefined;
  /** False leaves out checkpoints and other incomplete snapshots; they are listed by default. */
  readonly incomplete?: boolean | undefined;
}

export interface SnapshotList {
  /** By start time, then end time, oldest first. */
  readonly snapshots: readonly SavedSnapshot[];
  /** Manifests labelled as snapshots that match the filter but cannot be understood. */
  readonly damaged: readonly { readonly id: ManifestId; readonly error: Error }[];
}

/** Damage of one manifest is reported beside the others and is no reason to fail. */
export async function listSnapshots(
  repository: ManifestsOf,
  filter: SnapshotFilter = {},
  options: CallOptions = {},
): Promise<SnapshotList> {
  const tags = storedTags({ tags: filter.tags ?? {}, bareTags: filter.bareTags });
  const labels: Labels = {
    ...tags,
    ...(filter.source === undefined ? { type: SNAPSHOT_TYPE } : sourceLabels(filter.source)),
  };
  const snapshots: SavedSnapshot[] = [];
  const damaged: { id: ManifestId; error: Error }[] = [];
  for (const { id } of await repository.manifests.find(labels, options)) {
    try {
      snapshots.push(await loadSnapshot(repository, id, options));
    } catch (error) {
      if (!isVarveError(error, "corrupt")) {
        throw error;
      }
      damaged.push({ id, error });
    }
  }
  return {
    snapshots: snapshots
      .filter(({ incomplete }) => filter.incomplete !== false || incomplete === undefined)
      .sort(compareStart),
    damaged,
  };
}

/** Negative when `a` started first, or started with `b` and ended first. */
export function compareStart(a: Snapshot, b: Snapshot): number {
  return compareBigint(a.startTimeNs, b.startTimeNs) || compareBigint(a.endTimeNs, b.endTimeNs);
}

/** Every source that has a snapshot, once, in the order of their texts; read from labels alone. */
export async function listSources(
  repository: ManifestsOf,
  options: CallOptions = {},
): Promise<readonly SnapshotSource[]> {
  const sources = new Map<string, SnapshotSource>();
  for (const { labels } of await repository.manifests.find({ type: SNAPSHOT_TYPE }, options)) {
    const source = {
      host: labels["hostname"] ?? "",
      userName: labels["username"] ?? "",
      path: labels["path"] ?? "",
    };
    sources.set(JSON.stringify(source), source);
  }
  return [...sources.values()].sort((a, b) => (formatSource(a) < formatSource(b) ? -1 : 1));
}

/** Deletes the manifest, pinned or not; data goes with maintenance. Throws `manifest-not-found`. */
export async function deleteSnapshot(
  repository: ManifestsOf,
  id: ManifestId,
  options: CallOptions = {},
): Promise<void> {
  await getSnapshotManifest(repository, id, options);
  await repository.manifests.delete(id, options);
}

export interface SnapshotChanges {
  readonly description?: string | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  readonly pins?: readonly string[] | undefined;
  readonly root?: DirectoryEntry | undefined;
}

/**
 * Puts a changed copy in the place of a snapshot and gives it, with its new id. Members and labels that varve does not know
 * survive, which Kopia's edits do not promise. Without an effective change nothing is written and the id stays.
 */
export async function replaceSnapshot(
  repository: ManifestsOf,
  id: ManifestId,
  changes: SnapshotChanges,
  options: CallOptions = {},
): Promise<SavedSnapshot> {
  const { payload, labels } = await getSnapshotManifest(repository, id, options);
  const before: SavedSnapshot = { ...snapshotFromJson(payload, `snapshot ${id}`), id };
  const after: SavedSnapshot = {
    ...before,
    description: changes.description ?? before.description,
    tags: changes.tags ?? before.tags,
    pins: sortedPins(changes.pins ?? before.pins),
    root: changes.root ?? before.root,
  };
  const oldTags = storedTags(before);
  const newTags = storedTags(after);
  const edited = {
    description: after.description,
    tags: Object.keys(newTags).length === 0 ? undefined : newTags,
    pins: after.pins.length === 0 ? undefined : after.pins,
    // Only where asked for: members of the root that varve does not know stay else.
    ...(changes.root === undefined ? {} : { rootEntry: entryToJson(changes.root) }),
  };
  if (
    changes.root === undefined &&
    after.description === before.description &&
    JSON.stringify([newTags, after.pins]) === JSON.stringify([oldTags, before.pins])
  ) {
    return before;
  }
  const keptLabels = Object.entries(labels).filter(([key]) => !Object.hasOwn(oldTags, key));
  const newId = await repository.manifests.put(
    { ...newTags, ...Object.fromEntries(keptLabels) },
    { ...withoutMembers(payload, Object.keys(edited)), ...edited },
    options,
  );
  await repository.manifests.delete(id, options);
  return { ...after, id: newId };
}

/** Adds and removes pins; the id changes unless nothing does. A pinned snapshot never expires. */
export async function pinSnapshot(
  repository: ManifestsOf,
  id: ManifestId,
  pins: { readonly add?: readonly string[]; readonly remove?: readonly string[] },
  options: CallOptions = {},
): Promise<SavedSnapshot> {
  const before = await loadSnapshot(repository, id, options);
  const kept = [...before.pins, ...(pins.add ?? [])].filter((pin) => !pins.remove?.includes(pin));
  return replaceSnapshot(repository, id, { pins: kept }, options);
}

/** `user@host:/path`. */
export function formatSource(source: SnapshotSource): string {
  return `${source.userName}@${source.host}:${source.path}`;
}

/** Reads `user@host:/path`; the path is taken as it is. Throws `invalid-argument`. */
export function parseSource(text: string): SnapshotSource {
  const [, userName, host, path] = /^([^@]+)@([^:]+):(.+)$/s.exec(text) ?? [];
  if (userName === undefined || host === undefined || path === undefined) {
    throw new VarveError("invalid-argument", `not user@host:/path: ${JSON.stringify(text)}`);
  }
  return { host, userName, path };
}

async function getSnapshotManifest(
  repository: ManifestsOf,
  id: ManifestId,
  options: CallOptions,
): Promise<{ labels: Labels; payload: unknown }> {
  const manifest = await repository.manifests.get(id, options);
  if (manifest.labels["type"] !== SNAPSHOT_TYPE) {
    throw new VarveError("manifest-not-found", `manifest ${id} is not a snapshot`);
  }
  return manifest;
}

/** The members of a checked JSON object but those, whatever their case. */
function withoutMembers(payload: unknown, names: readonly string[]): object {
  const lowerCase = names.map((name) => name.toLowerCase());
  const members = Object.entries(payload as object); // snapshotFromJson has seen that it is one
  return Object.fromEntries(members.filter(([key]) => !lowerCase.includes(key.toLowerCase())));
}

function compareBigint(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

import type { CallOptions } from "../base/environment.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { SavedSnapshot } from "../snapshot/snapshots.ts";

/** `stub` puts a small text file in its place, `keep` leaves it as it is, `fail` ends the call. */
export type InvalidDirectoryHandling = "stub" | "keep" | "fail";
export type InvalidFileHandling = InvalidDirectoryHandling | "remove";

export interface FixOptions extends CallOptions {
  /** Left out: all snapshots, incomplete ones included. */
  readonly snapshots?: readonly ManifestId[] | undefined;
  /** False: only tell; nothing is written. */
  readonly commit: boolean;
  /** Looks for files and links that cannot be read. */
  readonly invalidFiles?:
    | {
        readonly handling: InvalidFileHandling;
        /** The part of the files whose bytes are read, 0 to 1. 0 finds lost packs and contents only. */
        readonly readFraction: number;
        readonly readSeed?: string | undefined;
      }
    | undefined;
  /** Takes out entries of any type, with all below them. */
  readonly removeFiles?:
    | {
        /** Patterns of names (see `compileNamePattern`). */
        readonly names: readonly string[];
        readonly objects: readonly ObjectId[];
      }
    | undefined;
  /** For directories whose record cannot be read. Default `stub`. */
  readonly invalidDirectories?: InvalidDirectoryHandling | undefined;
  /** Directories and packs read at once; default 8. */
  readonly parallel?: number | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: FixCounts) => void) | undefined;
}

export interface FixCounts {
  /** Looked at. */
  readonly snapshots: number;
  /** Distinct ones read, once to look for damage and once to rewrite. */
  readonly directories: number;
  readonly changeCount: number;
}

/** What becomes of one entry, told for the first path by which it was met: other snapshots may share it. */
export interface FixChange {
  readonly snapshot: ManifestId;
  /** Relative to the root, `""` for the root itself. */
  readonly path: string;
  /** `keep`: it is damaged and stays so. */
  readonly action: "stub" | "remove" | "keep";
  /** Left out for what was named for removal. */
  readonly code?: ErrorCode | undefined;
  readonly message: string;
}

export interface FixedSnapshot {
  readonly before: SavedSnapshot;
  /** Its new id; left out in a dry run. */
  readonly id?: ManifestId | undefined;
  /** In a dry run the object ids at and below it are those from before. */
  readonly root: DirectoryEntry;
}

export interface FixReport extends FixCounts {
  readonly fixed: readonly FixedSnapshot[];
  /** The first {@link MAX_CHANGES}. */
  readonly changes: readonly FixChange[];
  /** Snapshot manifests that cannot be understood; they are left alone. */
  readonly unreadable: readonly { readonly id: ManifestId; readonly message: string }[];
}

export const MAX_CHANGES = 10_000;

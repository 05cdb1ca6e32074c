import { concatBytes, utf8 } from "../base/bytes.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { DirectoryEntry, EntryMeta } from "../snapshot/entry.ts";
import { bytesOfName } from "../snapshot/entry-name.ts";

/**
 * Where an entry goes, as a chain of names from the root of what is restored: names may be bytes that are not UTF-8,
 * and a target can keep what it knows of a directory beside its path. Names below the root are single path
 * components, never `.`, `..`, empty, or with `/` or NUL.
 */
export interface EntryPath {
  /** Left out for the root. */
  readonly parent?: EntryPath | undefined;
  /** Of the root: the recorded name of the source, for targets that need one; may be empty. */
  readonly name: string;
  readonly nameBytes?: Uint8Array | undefined;
}

/** `a/b/c` relative to the root, `""` for the root itself; U+FFFD stands for bytes that are not UTF-8. */
export function pathText(path: EntryPath): string {
  const names: string[] = [];
  for (let at = path; at.parent !== undefined; at = at.parent) {
    names.push(at.name);
  }
  return names.reverse().join("/");
}

/** The same as bytes, exact. */
export function pathBytes(path: EntryPath): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = path; at.parent !== undefined; at = at.parent) {
    parts.push(bytesOfName(at), SLASH);
  }
  return concatBytes(parts.reverse().slice(1));
}

const SLASH = utf8("/");

/** True when every name on the path is UTF-8. */
export function isTextPath(path: EntryPath): boolean {
  for (let at: EntryPath | undefined = path; at !== undefined; at = at.parent) {
    if (at.nameBytes !== undefined) {
      return false;
    }
  }
  return true;
}

/**
 * A place that a tree is restored to: a local tree, an archive, a test double. A call that throws fails that entry alone
 * (for a directory: with everything below), with `target-failed`, `access-denied`, `storage-full` or `unsupported`.
 * `meta` is left out for a root that is known by its object id only.
 */
export interface RestoreTarget {
  /** Asks for files one after another with bytes in order, and for directories just before what is in them. */
  readonly ordered?: boolean | undefined;
  /**
   * Comes before everything in it. `entries` is all that the snapshot has there; gives the count of entries that were
   * removed because they are not among them.
   */
  directory(
    path: EntryPath,
    meta: EntryMeta | undefined,
    entries: readonly DirectoryEntry[],
  ): Promise<number>;
  /** Comes once for each directory that was made, after everything in it: sets its mode, owner and times. */
  finishDirectory(path: EntryPath, meta: EntryMeta | undefined): Promise<void>;
  /** `sizeBytes` is what will be written. Nothing when the file is to be skipped. */
  file(
    path: EntryPath,
    meta: EntryMeta | undefined,
    sizeBytes: number,
  ): Promise<WritableFile | undefined>;
  /** False when it was skipped. `to` is the target's text as raw bytes. */
  symlink(path: EntryPath, meta: EntryMeta | undefined, to: Uint8Array): Promise<boolean>;
  /** Writes what stands for an entry, and all below it, in a shallow restore. Left out by targets that cannot. */
  placeholder?(path: EntryPath, entry: DirectoryEntry): Promise<void>;
  /** Comes once, at the end of a restore that came to its end. */
  finish(): Promise<void>;
  /** Comes instead of `finish` when the restore was aborted: lets go of what is open. Never throws. */
  abandon(): Promise<void>;
}

/** One file being written. Calls overlap unless the target is `ordered`; each byte is written once. */
export interface WritableFile {
  /** `bytes` are gone once it has settled, unless the target is `ordered`. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
  /** Sets mode, owner and times; the file is complete. */
  finish(): Promise<void>;
  /** The file cannot be completed: nothing that looks complete may stay. Never throws. */
  abandon(): Promise<void>;
}

/** Why one entry is not as it was. */
export interface RestoreFailure {
  /** Relative to the root, `""` for the root itself. */
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
}

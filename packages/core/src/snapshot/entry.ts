import type { ObjectId } from "../object/object-id.ts";

/** What the format keeps of a file system entry besides its bytes (spec §6.4). */
export interface EntryMeta {
  readonly type: "directory" | "file" | "symlink";
  /** POSIX permission bits with setuid, setgid and sticky: at most 0o7777. */
  readonly mode: number;
  /** Bytes of a file, length of a symlink's target, 0 for a directory. */
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly uid: number;
  readonly gid: number;
}

/** Totals of everything below a directory, itself included (spec §6.4). */
export interface DirectorySummary {
  readonly sizeBytes: number;
  readonly files: number;
  readonly symlinks: number;
  readonly directories: number;
  /** Latest mtime below; the directory's own when it is empty. */
  readonly maxTimeNs: bigint;
  readonly incomplete?: string | undefined;
  readonly failed: number;
  readonly ignoredErrors: number;
  readonly errors: readonly { readonly path: string; readonly error: string }[];
}

/** One name in a directory record. */
export interface DirectoryEntry extends EntryMeta {
  /** Valid UTF-8 text; U+FFFD stands where the real name was not. */
  readonly name: string;
  /** The real bytes of the name when they are not UTF-8: varve's own extension, which Kopia ignores. */
  readonly nameBytes?: Uint8Array | undefined;
  readonly object: ObjectId;
  /** Of directories, and of the root of a single-file snapshot. */
  readonly summary?: DirectorySummary | undefined;
}

import { closeSync, constants, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { fchmodSync, fstatSync, lstatSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { DirectoryEntry, EntryMeta } from "../snapshot/entry.ts";
import { bytesOfName, nameKey, nameOfBytes } from "../snapshot/entry-name.ts";
import { PLACEHOLDER_SUFFIX, placeholderText } from "../source/placeholder.ts";
import { openExactTimes } from "./local-exact-times.ts";
import { LaterLocalFile, LocalFile } from "./local-file.ts";
import { type MetadataOptions, applyLinkMetadata, applyMetadata } from "./local-metadata.ts";
import {
  createReplacing,
  failure,
  refuseOverwrite,
  tryCreate,
  unlessExists,
} from "./local-place.ts";
import { LocalWriters } from "./local-writers.ts";
import {
  type EntryPath,
  type RestoreTarget,
  type WritableFile,
  pathBytes,
  pathText,
} from "./target.ts";
import { SMALL_FILE_BYTES } from "./writer-memory.ts";

/**
 * A tree on the local file system. Nothing outside the target is ever written: below the target no symlink is
 * followed, whether it was there before or came from the snapshot. On Linux every directory is held open and its
 * entries are reached through `/proc/self/fd`, so not even somebody who swaps directories for symlinks meanwhile can lead a
 * write elsewhere, and paths have no greatest length. Elsewhere each directory is checked when it is made, and such a
 * swap between the check and a write is not noticed: do not restore there into a directory that others may change.
 *
 * Files are made anew, never opened where they lie: an existing file is unlinked first, so that other hard links to it
 * keep their bytes. A file that cannot be completed is removed again. A process that is killed can leave a file
 * with mode 0600, a recent time, and holes; `writeFilesAtomically` gives a file its name only when it is complete.
 */
export interface LocalTargetOptions extends Partial<Omit<MetadataOptions, "exactTimes">> {
  /** False: an existing file is an error. Default true. */
  readonly overwriteFiles?: boolean;
  /** False: an existing directory that is not empty is an error, the target itself included. Default true. */
  readonly overwriteDirectories?: boolean;
  /** False: an existing symlink is an error. Default true: it is replaced. */
  readonly overwriteSymlinks?: boolean;
  /** Leaves files of equal size and with a time less than 2 s away alone, and every symlink that exists. */
  readonly skipExisting?: boolean;
  /** Removes what the snapshot does not have, and what is a directory here and none there or the reverse. */
  readonly deleteExtra?: boolean;
  readonly writeFilesAtomically?: boolean;
  /** Leaves out blocks of zeros. */
  readonly writeSparseFiles?: boolean;
  /** Waits until each file is on disk. */
  readonly flushFiles?: boolean;
  /** Threads that make small files; default 0, which makes all of them on the calling thread. */
  readonly writerThreads?: number;
  /** Takes a target that is a symlink for what it points to, instead of failing. */
  readonly followTargetSymlink?: boolean;
}

type Options = Required<LocalTargetOptions> & MetadataOptions;

const DEFAULTS: Required<LocalTargetOptions> = {
  overwriteFiles: true,
  overwriteDirectories: true,
  overwriteSymlinks: true,
  skipExisting: false,
  deleteExtra: false,
  skipOwners: false,
  skipPermissions: false,
  skipTimes: false,
  ignorePermissionErrors: true,
  writeFilesAtomically: false,
  writeSparseFiles: false,
  flushFiles: false,
  writerThreads: 0,
  followTargetSymlink: false,
};

const SAME_TIME_NS = 2_000_000_000n;
const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Restores to `path`: a directory's entries go into it, a single file or symlink becomes it. Parents are made. Throws
 * `target-failed` when `path` is a symlink (see `followTargetSymlink`) or its parent cannot be used.
 */
export function localTarget(path: string, options: LocalTargetOptions = {}): RestoreTarget {
  return new LocalTarget(path, { ...DEFAULTS, ...options, exactTimes: openExactTimes() });
}

/** An open directory, or the parent of the target. */
interface OpenDirectory {
  readonly fd: number;
  /** What its entries' names are appended to, `/` included. */
  readonly prefix: string | Buffer;
  /** What `finishDirectory` gives back when there is no other mode to set. */
  readonly modeBefore: number;
}

class LocalTarget implements RestoreTarget {
  readonly #options: Options;
  readonly #root: string;
  readonly #anchor: OpenDirectory;
  readonly #open: Map<EntryPath, OpenDirectory> = new Map();
  readonly #throughProc: boolean = existsSync("/proc/self/fd");
  readonly #writers: LocalWriters | undefined;
  #temporaryFiles = 0;

  constructor(path: string, options: Options) {
    this.#options = options;
    this.#writers = writersFor(options);
    const root = resolve(path);
    try {
      mkdirSync(dirname(root), { recursive: true });
      this.#root = followed(root, options);
      const parent = dirname(this.#root);
      // The way to the target is the user's own: its symlinks are followed.
      this.#anchor = this.#opened(
        openSync(parent, constants.O_RDONLY | constants.O_DIRECTORY),
        Buffer.from(parent),
      );
    } catch (error) {
      throw failure(error, `restore to ${root}`);
    }
  }

  async directory(
    path: EntryPath,
    _meta: EntryMeta | undefined,
    entries: readonly DirectoryEntry[],
  ): Promise<number> {
    return this.#attempt(path, "make directory", (at) => {
      const made = tryMakeDirectory(at);
      const kind = made ? "directory" : kindOf(at);
      if (kind !== "directory") {
        throw new VarveError("target-failed", `there is a ${kind} in its place`);
      }
      const open = this.#opened(openSync(at, OPEN_DIRECTORY), this.#absolute(path));
      try {
        const deleted = made ? 0 : this.#prepare(open, entries);
        this.#open.set(path, open);
        return deleted;
      } catch (error) {
        closeQuietly(open.fd);
        throw error;
      }
    });
  }

  /** Makes an existing directory ready to be filled; gives how many entries were removed. */
  #prepare(open: OpenDirectory, entries: readonly DirectoryEntry[]): number {
    if ((open.modeBefore & 0o700) !== 0o700) {
      // An earlier restore may have left it unwritable; `finishDirectory` sets the mode that stays.
      fchmodSync(open.fd, open.modeBefore | 0o700);
    }
    const { deleteExtra, overwriteDirectories } = this.#options;
    if (overwriteDirectories && !deleteExtra) {
      return 0;
    }
    const existing = readdirSync(child(open, "."), { encoding: "buffer" });
    if (!overwriteDirectories && existing.length > 0) {
      throw new VarveError("target-failed", "there is a directory that is not empty");
    }
    return deleteUnknown(open, existing, entries);
  }

  async finishDirectory(path: EntryPath, meta: EntryMeta | undefined): Promise<void> {
    const open = this.#open.get(path);
    if (open === undefined) {
      return;
    }
    try {
      await this.#attempt(path, "finish directory", () => {
        if (this.#options.skipPermissions || meta === undefined) {
          fchmodSync(open.fd, open.modeBefore);
        }
        if (this.#options.flushFiles) {
          fsyncSync(open.fd);
        }
        if (meta !== undefined) {
          applyMetadata(open.fd, meta, this.#options);
        }
      });
    } finally {
      this.#close(path);
    }
  }

  async file(
    path: EntryPath,
    meta: EntryMeta | undefined,
    sizeBytes: number,
  ): Promise<WritableFile | undefined> {
    return this.#attempt(path, "write file", (at) => {
      const { writeFilesAtomically, skipExisting, overwriteFiles } = this.#options;
      if (skipExisting && this.#isThere(at, meta, sizeBytes)) {
        return undefined;
      }
      const mayBeRefused = writeFilesAtomically || !overwriteFiles;
      const existing = mayBeRefused ? lstatSync(at, { throwIfNoEntry: false }) : undefined;
      if (existing !== undefined) {
        refuseOverwrite(existing, this.#options);
      }
      if (!writeFilesAtomically) {
        return new LaterLocalFile({
          at,
          directory: this.#parentOf(path).fd,
          sizeBytes,
          meta,
          writers: sizeBytes > SMALL_FILE_BYTES ? undefined : this.#writers,
          openNow: () =>
            this.#file(path, meta, { fd: createReplacing(at, this.#options), at, sizeBytes }),
          wrap: (error) => failure(error, `write file ${quoted(path)}`),
        });
      }
      const temporary = this.#createTemporary(path);
      return this.#file(path, meta, { ...temporary, sizeBytes, renameTo: at });
    });
  }

  async symlink(path: EntryPath, meta: EntryMeta | undefined, to: Uint8Array): Promise<boolean> {
    return this.#attempt(path, "make symlink", (at) => {
      const kind = kindOf(at);
      if (kind === "symlink" && this.#options.skipExisting) {
        return false;
      }
      if (kind === "symlink" && this.#options.overwriteSymlinks) {
        unlinkSync(at);
      } else if (kind !== "nothing") {
        throw new VarveError("target-failed", `there is a ${kind} in its place`);
      }
      symlinkSync(Buffer.from(to), at);
      if (meta !== undefined) {
        applyLinkMetadata(at, meta, this.#options);
      }
      return true;
    });
  }

  async placeholder(path: EntryPath, entry: DirectoryEntry): Promise<void> {
    await this.#attempt(path, "write placeholder", (at) => {
      const kind = kindOf(at);
      if (kind !== "nothing") {
        // Both together are an error in the next backup, and what is there may be in no snapshot.
        throw new VarveError("target-failed", `there is a ${kind} in its place`);
      }
      const name = path.name + PLACEHOLDER_SUFFIX;
      const place = child(this.#parentOf(path), name);
      if (entry.type !== "directory") {
        this.#writePlaceholder(place, entry);
        return;
      }
      if (!tryMakeDirectory(place) && kindOf(place) !== "directory") {
        throw new VarveError("target-failed", `there is a ${kindOf(place)} called ${name}`);
      }
      const absolute = this.#absolute({ parent: path.parent, name });
      const open = this.#opened(openSync(place, OPEN_DIRECTORY), absolute);
      try {
        this.#writePlaceholder(child(open, PLACEHOLDER_SUFFIX), entry);
      } finally {
        closeQuietly(open.fd);
      }
    });
  }

  #writePlaceholder(at: string | Buffer, entry: DirectoryEntry): void {
    const fd = createReplacing(at, this.#options);
    try {
      writeFileSync(fd, placeholderText(entry));
      applyMetadata(fd, { ...entry, mode: entry.mode & 0o555 }, this.#options); // not to be edited
    } finally {
      closeSync(fd);
    }
  }

  async finish(): Promise<void> {
    await this.abandon();
  }

  async abandon(): Promise<void> {
    await this.#writers?.close();
    for (const path of this.#open.keys()) {
      this.#close(path);
    }
    closeQuietly(this.#anchor.fd);
  }

  #file(
    path: EntryPath,
    meta: EntryMeta | undefined,
    made: { fd: number; at: string | Buffer; sizeBytes: number; renameTo?: string | Buffer },
  ): LocalFile {
    return new LocalFile({
      ...made,
      sparse: this.#options.writeSparseFiles,
      flush: this.#options.flushFiles,
      complete: (fd) => {
        if (meta !== undefined) {
          applyMetadata(fd, meta, this.#options);
        }
      },
      wrap: (error) => failure(error, `write file ${quoted(path)}`),
    });
  }

  /** As far as size and time tell. */
  #isThere(at: string | Buffer, meta: EntryMeta | undefined, sizeBytes: number): boolean {
    const existing = lstatSync(at, { bigint: true, throwIfNoEntry: false });
    if (existing?.isFile() !== true || existing.size !== BigInt(sizeBytes)) {
      return false;
    }
    const difference = existing.mtimeNs - (meta?.mtimeNs ?? existing.mtimeNs);
    return difference > -SAME_TIME_NS && difference < SAME_TIME_NS;
  }

  #createTemporary(path: EntryPath): { fd: number; at: string | Buffer } {
    for (;;) {
      const at = child(this.#parentOf(path), `.varve-restore-${this.#temporaryFiles++}`);
      const fd = tryCreate(at);
      if (fd !== undefined) {
        return { fd, at };
      }
    }
  }

  /** Calls `work` with the path that reaches the entry; its errors name the entry. */
  async #attempt<T>(path: EntryPath, what: string, work: (at: string | Buffer) => T): Promise<T> {
    try {
      const parent = this.#parentOf(path);
      return work(
        path.parent === undefined
          ? child(parent, basename(this.#root) || ".")
          : child(parent, path.nameBytes ?? path.name),
      );
    } catch (error) {
      throw failure(error, `${what} ${quoted(path)}`);
    }
  }

  #parentOf(path: EntryPath): OpenDirectory {
    const parent = path.parent === undefined ? this.#anchor : this.#open.get(path.parent);
    if (parent === undefined) {
      throw new VarveError("target-failed", "its directory could not be made");
    }
    return parent;
  }

  #opened(fd: number, path: Buffer): OpenDirectory {
    const modeBefore = fstatSync(fd).mode & 0o7777;
    const prefix = this.#throughProc
      ? `/proc/self/fd/${fd}/`
      : Buffer.concat([path, Buffer.from("/")]);
    return { fd, prefix, modeBefore };
  }

  #absolute(path: EntryPath): Buffer {
    const root = Buffer.from(this.#root);
    return path.parent === undefined
      ? root
      : Buffer.concat([root, Buffer.from("/"), pathBytes(path)]);
  }

  #close(path: EntryPath): void {
    const open = this.#open.get(path);
    if (open !== undefined) {
      this.#open.delete(path);
      closeQuietly(open.fd);
    }
  }
}

/** None where a file is more than made and written. */
function writersFor(options: Options): LocalWriters | undefined {
  const { writerThreads, flushFiles, writeSparseFiles, writeFilesAtomically } = options;
  if (writerThreads === 0 || flushFiles || writeSparseFiles || writeFilesAtomically) {
    return undefined;
  }
  const { exactTimes: _, ...plain } = options; // functions do not cross to a thread
  return new LocalWriters(writerThreads, plain);
}

function followed(root: string, options: Options): string {
  if (lstatSync(root, { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
    return root;
  }
  if (!options.followTargetSymlink) {
    throw new VarveError("target-failed", "the target is a symlink");
  }
  return realpathSync(root);
}

function child(directory: OpenDirectory, name: string | Uint8Array): string | Buffer {
  const { prefix } = directory;
  return typeof prefix === "string" && typeof name === "string"
    ? prefix + name
    : Buffer.from(
        concatBytes([
          typeof prefix === "string" ? utf8(prefix) : prefix,
          typeof name === "string" ? utf8(name) : name,
        ]),
      );
}

type Kind = "nothing" | "directory" | "symlink" | "file";

function kindOf(at: string | Buffer): Kind {
  const found = lstatSync(at, { throwIfNoEntry: false });
  return found === undefined
    ? "nothing"
    : found.isDirectory()
      ? "directory"
      : found.isSymbolicLink()
        ? "symlink"
        : "file";
}

function tryMakeDirectory(at: string | Buffer): boolean {
  return unlessExists(() => mkdirSync(at, 0o700)) !== undefined;
}

/** Removes what is not among `entries`, or is a directory where they have none or the reverse; gives how many. */
function deleteUnknown(
  open: OpenDirectory,
  existing: readonly Buffer[],
  entries: readonly DirectoryEntry[],
): number {
  const wanted = new Map(entries.map((entry) => [nameKey(entry), entry.type === "directory"]));
  let deleted = 0;
  for (const bytes of existing) {
    const name = nameOfBytes(bytes);
    const at = child(open, bytesOfName(name));
    if (wanted.get(nameKey(name)) !== (kindOf(at) === "directory")) {
      rmSync(at, { recursive: true, force: true });
      deleted += 1;
    }
  }
  return deleted;
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // closed already
  }
}

function quoted(path: EntryPath): string {
  return JSON.stringify(pathText(path) || ".");
}

import { constants, lstatSync, openSync, unlinkSync } from "node:fs";
import { VarveError, errorMessage } from "../base/errors.ts";

/** How a file gets its place on the local file system, and what it is called when it does not. */

export interface OverwriteOptions {
  readonly overwriteFiles: boolean;
  readonly overwriteSymlinks: boolean;
}

/**
 * A new file at `at`, open for writing; what was there is unlinked, so that other hard links to it keep their bytes.
 * Throws `target-failed` for what may not be replaced.
 */
export function createReplacing(at: string | Buffer, options: OverwriteOptions): number {
  const fd = tryCreate(at);
  if (fd !== undefined) {
    return fd;
  }
  const existing = lstatSync(at, { throwIfNoEntry: false });
  if (existing !== undefined) {
    refuseOverwrite(existing, options);
    unlinkSync(at);
  }
  return create(at);
}

/** Throws `target-failed` for what may not be replaced. */
export function refuseOverwrite(
  existing: { isSymbolicLink(): boolean; isDirectory(): boolean },
  options: OverwriteOptions,
): void {
  if (existing.isDirectory()) {
    throw new VarveError("target-failed", "there is a directory in its place");
  }
  const isSymlink = existing.isSymbolicLink();
  if (isSymlink ? !options.overwriteSymlinks : !options.overwriteFiles) {
    throw new VarveError("target-failed", `there is a ${isSymlink ? "symlink" : "file"} already`);
  }
}

/** Nothing when there is something. */
export function tryCreate(at: string | Buffer): number | undefined {
  return unlessExists(() => create(at))?.result;
}

/** Throws what the system says. */
export function create(at: string | Buffer): number {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  return openSync(at, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
}

/** The result of `work`, nothing when the system says that something is there. */
export function unlessExists<T>(work: () => T): { result: T } | undefined {
  try {
    return { result: work() };
  } catch (error) {
    if (systemCode(error) === "EEXIST") {
      return undefined;
    }
    throw error;
  }
}

/** What went wrong with an entry, with a code that callers can branch on. */
export function failure(error: unknown, what: string): VarveError {
  const code = systemCode(error);
  return new VarveError(
    error instanceof VarveError
      ? error.code
      : code === "ENOSPC" || code === "EDQUOT"
        ? "storage-full"
        : code === "EACCES" || code === "EPERM" || code === "EROFS"
          ? "access-denied"
          : "target-failed",
    `${what}: ${errorMessage(error)}`,
    { cause: error },
  );
}

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { errorMessage, VarveError } from "../base/errors.ts";
import type { OpenFile } from "./process-job.ts";

// A file that became a FIFO or a symlink since it was listed must neither block a thread nor lead elsewhere.
// The constants are missing on Windows.
const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Opens a regular file of the local file system for positional reads. It and its `read` throw `source-failed`. */
export function openLocalFile(path: string | Uint8Array): OpenFile {
  const what = typeof path === "string" ? path : new TextDecoder().decode(path);
  const descriptor = attempt(`open ${what}`, () =>
    openSync(
      typeof path === "string" ? path : Buffer.from(path.buffer, path.byteOffset, path.byteLength),
      OPEN_FLAGS,
    ),
  );
  const close = (): void => closeSync(descriptor);
  let sizeBytes: number;
  try {
    const stat = attempt(`stat ${what}`, () => fstatSync(descriptor));
    sizeBytes = stat.size;
    if (!stat.isFile()) {
      throw new VarveError("source-failed", `open ${what}: no longer a regular file`);
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    sizeBytes,
    read: (target, position) =>
      attempt(`read ${what} at ${position}`, () =>
        readSync(descriptor, target, 0, target.length, position),
      ),
    close,
  };
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new VarveError("source-failed", `${what}: ${errorMessage(cause)}`, { cause });
  }
}

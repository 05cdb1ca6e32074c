import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { VarveError, errorMessage } from "../base/errors.ts";
import type { ScratchFile } from "../index/slabs.ts";

/**
 * A scratch file in `directory`, by default the system's for temporary files. It loses its name at once where the
 * system allows that, so that a process that is killed leaves nothing. Calls throw `storage-full` and `storage-failed`.
 */
export function openScratchFile(directory: string = tmpdir()): ScratchFile {
  return attempt("open", () => {
    const path = join(mkdtempSync(join(directory, "varve-scratch-")), "index");
    const fd = openSync(path, "wx+", 0o600);
    const unlinked = remove(path);
    let isOpen = true;
    return {
      read: (position, target) =>
        attempt("read", () =>
          everyByte(target, (done) =>
            readSync(fd, target, done, target.length - done, position + done),
          ),
        ),
      write: (position, bytes) =>
        attempt("write", () =>
          everyByte(bytes, (done) =>
            writeSync(fd, bytes, done, bytes.length - done, position + done),
          ),
        ),
      [Symbol.dispose]: () => {
        if (isOpen) {
          isOpen = false;
          closeSync(fd);
          if (!unlinked) {
            remove(path);
          }
        }
      },
    };
  });
}

function everyByte(bytes: Uint8Array, move: (done: number) => number): void {
  for (let done = 0; done < bytes.length; ) {
    const count = move(done);
    if (count === 0) {
      throw new Error("it ends too early");
    }
    done += count;
  }
}

/** False where an open file cannot lose its name. */
function remove(path: string): boolean {
  try {
    unlinkSync(path);
    rmdirSync(dirname(path));
    return true;
  } catch {
    return false;
  }
}

function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    throw new VarveError(
      code === "ENOSPC" || code === "EDQUOT" ? "storage-full" : "storage-failed",
      `${what} the scratch file of the index: ${errorMessage(cause)}`,
      { cause },
    );
  }
}

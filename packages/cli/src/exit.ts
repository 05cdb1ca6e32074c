import type { BlobTotals, VarveError } from "@varve/core";
import { formatBytes } from "./output.ts";

/** Everything asked for was done. */
export const EXIT_OK = 0;
/** Something failed: an error, a damaged file, a snapshot with files left out. */
export const EXIT_FAILED = 1;
/** The command line could not be understood. */
export const EXIT_USAGE = 2;
/** Maintenance has stopped at a limit of its plan. */
export const EXIT_OVER_PLAN = 3;

/** All is done but for deletions that storage refuses until locks end. */
export const EXIT_LOCKED = 4;

/** Says what is still there because it is locked. */
export function reportLocked({ blobs, bytes }: BlobTotals): void {
  process.exitCode ??= EXIT_LOCKED;
  process.stderr.write(
    `varve: ${blobs} blobs (${formatBytes(bytes)}) are not needed and stay until their locks end [blob-locked]\n`,
  );
}

/** One line on standard error: what went wrong, and the code that scripts can look for. */
export function reportError(error: unknown): void {
  process.stderr.write(`varve: ${describeError(error)}\n`);
}

/** The message with its code; nothing of the stack, which is for `VARVE_DEBUG=1`. */
export function describeError(error: unknown): string {
  if (process.env["VARVE_DEBUG"] === "1" && error instanceof Error) {
    return error.stack ?? error.message;
  }
  if (isVarveError(error)) {
    return `${error.message} [${error.code}]`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** By its name: importing the class would load all of core for `--version` and `--help`. */
function isVarveError(error: unknown): error is VarveError {
  return error instanceof Error && error.name === "VarveError" && "code" in error;
}

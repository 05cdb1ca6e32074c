import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { lstat, mkdir, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Writable } from "node:stream";
import { errorMessage, type RestoreTarget, tarTarget, VarveError, zipTarget } from "@varve/core";

/** Archives that are written to files: each gets its name only when it is whole. */

export type ArchiveMode = "tar" | "tgz" | "zip" | "zip-nocompress";

/** What the name of a target asks for. */
export function archiveModeOf(path: string): ArchiveMode | "local" {
  if (/\.zip$/i.test(path)) {
    return "zip";
  }
  if (/\.(?:tar\.gz|tgz)$/i.test(path)) {
    return "tgz";
  }
  return /\.tar$/i.test(path) ? "tar" : "local";
}

export interface OpenArchive extends AsyncDisposable {
  readonly target: RestoreTarget;
  /** Gives the file its name. Without it, disposing removes the file. */
  finish(): Promise<void>;
}

/** `-` is standard output; what exists and is no regular file (a pipe, a device) is written to as it is. Throws `target-failed`. */
export async function openArchive(
  place: string,
  options: { readonly mode: ArchiveMode; readonly overwrite: boolean },
): Promise<OpenArchive> {
  if (place === "-") {
    return { target: targetOn(process.stdout, options.mode), ...nothingToFinish };
  }
  const path = resolve(place);
  try {
    const existing = await lstat(path).catch(() => undefined);
    if (existing?.isDirectory() === true || (existing?.isFile() === true && !options.overwrite)) {
      throw new Error(existing.isFile() ? "the file exists" : "there is a directory");
    }
    if (existing !== undefined && !existing.isFile() && !existing.isSymbolicLink()) {
      return { target: targetOn(createWriteStream(path), options.mode), ...nothingToFinish };
    }
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new VarveError("target-failed", `write ${path}: ${errorMessage(cause)}`, { cause });
  }
  const temporary = `${path}.tmp.${randomBytes(8).toString("hex")}`;
  const output = createWriteStream(temporary, { flags: "wx", mode: 0o600 });
  return {
    target: targetOn(output, options.mode),
    finish: async () => rename(temporary, path),
    [Symbol.asyncDispose]: async () => rm(temporary, { force: true }),
  };
}

const nothingToFinish = {
  finish: async (): Promise<void> => {},
  [Symbol.asyncDispose]: async (): Promise<void> => {},
};

function targetOn(output: Writable, mode: ArchiveMode): RestoreTarget {
  switch (mode) {
    case "tar":
      return tarTarget(output);
    case "tgz":
      return tarTarget(output, { gzip: true });
    default:
      return zipTarget(output, { compress: mode === "zip" });
  }
}

import { lstat, rmdir, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { nameOfPlaceholder, VarveError } from "@varve/core";

/** Placeholders of a shallow restore, as arguments of `restore`. */
export interface Placeholder {
  readonly path: string;
  /** Where it is expanded to. */
  readonly place: string;
}

/** Those that the arguments name: all or none. Throws `invalid-argument`. */
export async function findPlaceholders(paths: readonly string[]): Promise<readonly Placeholder[]> {
  const found: Placeholder[] = [];
  for (const given of paths) {
    const path = given.replace(/(?<=[^/])\/+$/, "");
    const name = nameOfPlaceholder({ name: basename(path) });
    const isThere = name !== undefined && (await lstat(path).catch(() => undefined));
    if (name !== undefined && isThere) {
      found.push({ path, place: path.slice(0, path.length - basename(path).length) + name });
    }
  }
  if (found.length > 0 && found.length < paths.length) {
    throw new VarveError(
      "invalid-argument",
      "a placeholder is expanded in its place, without a target",
    );
  }
  return found;
}

/** Only what a placeholder consists of. */
export async function removePlaceholder(path: string): Promise<void> {
  if ((await lstat(path)).isDirectory()) {
    await unlink(join(path, ".kopia-entry"));
    await rmdir(path);
  } else {
    await unlink(path);
  }
}

import { VarveError } from "../base/errors.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { PLACEHOLDER_SUFFIX, readPlaceholder } from "../source/placeholder.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { Listing } from "./listing.ts";
import { hasAllPieces } from "./previous-directories.ts";

/** What a shallow restore has left in a source keeps its objects (behaviour §1.7). */

/** True when a packed listing has placeholders: they are looked at one by one. */
export function mayHavePlaceholders({ packed }: Listing): boolean {
  return packed !== undefined && `${packed.listing.names}/`.includes(`${PLACEHOLDER_SUFFIX}/`);
}

/**
 * The entry that a placeholder stands for. Throws `source-failed` when it is none, when what it stands for is there too, and when this
 * repository does not hold its object.
 */
export async function keptByPlaceholder(
  repository: Repository,
  placeholder: SourceEntry,
  options: { readonly listing: Listing; readonly signal: AbortSignal },
): Promise<DirectoryEntry> {
  const { listing, signal } = options;
  const entry = await readPlaceholder(placeholder, { signal });
  const { name, type, object } = entry;
  if ((await listing.find(name)) !== undefined) {
    const what = `${name} and its placeholder are both there: remove one of them`;
    throw new VarveError("source-failed", what);
  }
  let isWhole = await hasAllPieces(repository, object, { signal });
  if (isWhole && type === "directory") {
    isWhole = await readDirectory(repository, object, { signal }).then(
      () => true,
      () => false,
    );
  }
  signal.throwIfAborted();
  if (!isWhole) {
    const what = `${placeholder.name}: its object ${object} is not in this repository`;
    throw new VarveError("source-failed", what);
  }
  return entry;
}

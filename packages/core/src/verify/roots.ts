import { equalBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import { FORMAT_BLOB } from "../format/format.ts";
import { FORMAT_COPY } from "../format/format-copy.ts";
import type { Repository } from "../repository/repository.ts";
import type { Reason } from "./structure.ts";

/** The few blobs that everything depends on: of the format, with its copy, and of the index. */

export interface DamagedRoot extends Reason {
  readonly blob: string;
}

/**
 * Damage of index blobs and `kopia.blobcfg` as the repository, just refreshed and past any cache, has found it; `kopia.repository` and
 * its copy compared with what the keys came from, byte by byte.
 */
export async function checkRoots(
  { blobs, damage, format }: Repository,
  options: CallOptions,
): Promise<readonly DamagedRoot[]> {
  const found = damage
    .filter(({ kind }) => kind !== "manifests")
    .map(({ name, code, message }): DamagedRoot => ({ blob: name, code, message }));
  const [current, copy] = await Promise.all(
    [FORMAT_BLOB, FORMAT_COPY].map((id) => getIfPresent(blobs, id, options)),
  );
  if (current === undefined) {
    const message = "is missing: nothing opens any more, `repository repair` stores it anew";
    found.push({ blob: FORMAT_BLOB, code: "blob-not-found", message });
  } else if (!equalBytes(current, format.rawFormatBlob)) {
    const message = "is not what the repository was opened with a moment ago";
    found.push({ blob: FORMAT_BLOB, code: "corrupt", message });
  }
  // Where there is none, none is kept, or the next full maintenance makes it.
  if (copy !== undefined && !equalBytes(copy, format.rawFormatBlob)) {
    const message = `is not what ${FORMAT_BLOB} is: damaged, or older than the password; the next full maintenance writes it`;
    found.push({ blob: FORMAT_COPY, code: "corrupt", message });
  }
  return found;
}

import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import type { Sealer } from "../format/sealer.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { parseIndex } from "../index/index-file.ts";
import { openLocalIndex, parsePackTail } from "./pack-tail.ts";

/** Enough for the index of most packs: what is longer costs a second read. */
const TAIL_BYTES = 8192;

/**
 * The contents that a pack itself says it holds (spec §3.6): what an index blob said of it, marks of deletion left out. Throws
 * `corrupt` for a pack whose end is damaged, and what storage throws.
 */
export async function readLocalIndex(
  store: Pick<BlobStore, "get">,
  pack: Pick<BlobInfo, "id" | "size">,
  { sealer, signal }: CallOptions & { readonly sealer: Sealer },
): Promise<ContentInfo[]> {
  const { id, size } = pack;
  const tailOffset = Math.max(0, size - TAIL_BYTES);
  const get = (offset: number, length: number): Promise<Uint8Array> =>
    store.get(id, { range: { offset, length }, signal });
  const tail = await get(tailOffset, size - tailOffset);
  const position = parsePackTail(tail, { packLength: size });
  const { offset, length } = position;
  const sealed =
    offset >= tailOffset
      ? tail.subarray(offset - tailOffset, offset - tailOffset + length)
      : await get(offset, length);
  const entries = [...parseIndex(openLocalIndex(sealed, { position, sealer })).entries()];
  if (!entries.some(({ packBlobId }) => packBlobId === id)) {
    throw new VarveError("corrupt", `pack ${id}: it says that it is another one`);
  }
  return entries.filter((entry) => {
    if (entry.packBlobId === id && entry.packOffset + entry.packedLength > size) {
      throw new VarveError("corrupt", `pack ${id}: content ${entry.id} lies outside of it`);
    }
    return entry.packBlobId === id && !entry.deleted && (entry.encryptionKeyId ?? 0) === 0;
  });
}

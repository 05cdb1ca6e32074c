import type { CallOptions } from "../base/environment.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import { openBlob } from "../format/sealed-blob.ts";
import type { Sealer } from "../format/sealer.ts";
import { readLocalIndex } from "./local-index.ts";

// So many may be damaged before it looks as if the keys were.
const MAX_BLOBS_TRIED = 16;

/**
 * Whether these keys open any index blob or pack: a format blob may be whole and that of another repository. True, too, where
 * nothing is sealed yet. Throws what storage throws.
 */
export async function keysFit(
  store: BlobStore,
  { sealer, signal }: CallOptions & { readonly sealer: Sealer },
): Promise<boolean> {
  const open = async (blob: BlobInfo): Promise<unknown> =>
    /^[pq]/.test(blob.id)
      ? await readLocalIndex(store, blob, { sealer, signal })
      : openBlob(blob.id, await store.get(blob.id, { signal }), sealer);
  let isEmpty = true;
  for (const prefix of ["xn", "xs", "xr", "n", "q", "p"]) {
    let tried = 0;
    for await (const blob of store.list(prefix, { signal })) {
      isEmpty = false;
      try {
        await open(blob);
        return true;
      } catch (error) {
        if (damageOf(error) === undefined) {
          throw error;
        }
      }
      if (++tried === MAX_BLOBS_TRIED) {
        break;
      }
    }
  }
  return isEmpty;
}

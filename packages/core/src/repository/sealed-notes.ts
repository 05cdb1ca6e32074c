import { toHex, utf8 } from "../base/bytes.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";

/** What this machine notes down for its next run, sealed under the repository's keys; under names of any kind, which nobody can read either. */
export interface SealedNotes {
  /** What was put under `name`, the caller's; nothing when it is not there or not whole. Never rejects. */
  get(name: string): Promise<Uint8Array | undefined>;
  /** Keeps `note` instead of what was there, or does not. Never rejects. */
  put(name: string, note: Uint8Array): Promise<void>;
}

export function sealedNotes(cache: BlobCache, sealer: Sealer): SealedNotes {
  const place = (name: string): { readonly file: string; readonly iv: Uint8Array } => {
    const hash = sealer.hash(utf8(`note ${name}`));
    return { file: `note-${toHex(hash)}`, iv: ivOfHash(hash) };
  };
  return {
    async get(name) {
      const { file, iv } = place(name);
      const sealed = await cache.get(file);
      try {
        return sealed && sealer.open(sealed, iv, { inPlace: true });
      } catch {
        await cache.drop(file);
        return undefined;
      }
    },
    async put(name, note) {
      const { file, iv } = place(name);
      await cache.put(file, [sealer.seal(note, iv)]);
    },
  };
}

import { openCrypto } from "../crypto/registry.ts";
import { createSealer, type Sealer } from "../format/sealer.ts";
import type { Repository } from "./repository.ts";

/** For whole blobs and ends of packs, which are few: contents are sealed and opened by the content store. */
export async function repositorySealer({ format, environment }: Repository): Promise<Sealer> {
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  return createSealer(format, { crypto: await openCrypto({ hashes: [format.hash] }), randomBytes });
}

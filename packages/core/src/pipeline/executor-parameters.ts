import { VarveError } from "../base/errors.ts";
import { openCodecs } from "../compression/registry.ts";
import type { RandomBytes } from "../crypto/crypto.ts";
import { openCrypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "../format/format.ts";
import { SealBuffer } from "../content/seal-content.ts";
import { createSealer } from "../format/sealer.ts";
import { createSplitter } from "../splitter/registry.ts";
import type { Splitter } from "../splitter/splitter.ts";
import type { JobTools, OpenFile } from "./process-job.ts";

/** What an executor must know of a repository: plain data, so that it can be sent to a thread. Holds secrets. */
export type ExecutorParameters = Pick<
  RepositoryFormat,
  "hash" | "encryption" | "secret" | "masterKey" | "ecc" | "indexVersion"
>;

/** Opens hash, cipher, codecs and splitters once for all jobs of a thread. */
export async function openJobTools(
  parameters: ExecutorParameters,
  options: {
    randomBytes: RandomBytes;
    openFile: (path: string | Uint8Array) => OpenFile;
  },
): Promise<JobTools> {
  const hashes = [parameters.hash];
  const [crypto, codecs] = await Promise.all([openCrypto({ hashes }), openCodecs()]);
  const sealer = createSealer(parameters, { crypto, randomBytes: pooled(options.randomBytes) });
  const splitters = new Map<string, Splitter>();
  const splitter = (name: string): Splitter => {
    const known = splitters.get(name) ?? createSplitter(name);
    if (known === undefined) {
      throw new VarveError("invalid-argument", `unknown splitter ${JSON.stringify(name)}`);
    }
    splitters.set(name, known);
    return known;
  };
  const { indexVersion } = parameters;
  const { openFile } = options;
  return { sealer, codecs, splitter, indexVersion, openFile, sealed: new SealBuffer() };
}

const RANDOM_POOL_BYTES = 4096;

/** Asks for many bytes at once: for a nonce alone, the call would cost as much as encrypting a small file. */
function pooled(randomBytes: RandomBytes): RandomBytes {
  let pool: Uint8Array = new Uint8Array(0);
  let used = 0;
  return (size) => {
    if (used + size > pool.length) {
      pool = randomBytes(Math.max(size, RANDOM_POOL_BYTES));
      used = 0;
    }
    used += size;
    return pool.slice(used - size, used);
  };
}

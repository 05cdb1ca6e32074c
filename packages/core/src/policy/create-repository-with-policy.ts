import { VarveError } from "../base/errors.ts";
import type { BlobStore } from "../blob/store.ts";
import { createRepository, type CreateRepositoryOptions } from "../repository/create-repository.ts";
import { isKopiaSplitter, SPLITTER_NAMES } from "../splitter/registry.ts";
import { kopiaGlobalPolicyPayload } from "./default-policy.ts";
import { GLOBAL_TARGET, policyLabels } from "./policy-target.ts";

/**
 * What varve cuts with unless told otherwise. Of 1 GiB of database with 1 % of its pages changed it stores 990 MB anew
 * where chunks of 4 MiB store all of it, for 64 MB of index in memory for each TiB; half as long chunks cost 8 % more time.
 */
export const DEFAULT_SPLITTER: string = "FASTCDC-1M";

export interface CreateRepositoryWithPolicyOptions
  extends Omit<CreateRepositoryOptions, "initialManifests"> {
  /**
   * Any splitter that varve knows; default {@link DEFAULT_SPLITTER}. One of Kopia's stands in the format; FastCDC stands
   * in the global policy, since Kopia refuses a format with a splitter that it does not know, but not such a policy.
   */
  readonly splitter?: string | undefined;
}

/**
 * Makes a repository the way the command line does: with a global policy of Kopia's defaults, and the splitter where it
 * belongs. Throws what {@link createRepository} throws.
 */
export async function createRepositoryWithPolicy(
  store: BlobStore,
  options: CreateRepositoryWithPolicyOptions,
): Promise<void> {
  const { splitter = DEFAULT_SPLITTER } = options;
  if (!SPLITTER_NAMES.includes(splitter)) {
    throw new VarveError(
      "invalid-argument",
      `no splitter ${JSON.stringify(splitter)}: known are ${SPLITTER_NAMES.join(", ")}`,
    );
  }
  const isPolicySplitter = !isKopiaSplitter(splitter);
  const globalPolicy = kopiaGlobalPolicyPayload(isPolicySplitter ? { splitter } : {});
  await createRepository(store, {
    ...options,
    splitter: isPolicySplitter ? undefined : splitter,
    initialManifests: [{ labels: policyLabels(GLOBAL_TARGET), payload: globalPolicy }],
  });
}

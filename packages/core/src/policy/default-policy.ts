import type { Policy } from "./policy.ts";
import { policyToJson } from "./policy-json.ts";

/** What holds where no policy says otherwise (spec §6.6, behaviour §2.2). */
export const DEFAULT_POLICY: Policy = {
  retention: {
    keepLatest: 10,
    keepHourly: 48,
    keepDaily: 7,
    keepWeekly: 4,
    keepMonthly: 24,
    keepAnnual: 3,
    ignoreIdenticalSnapshots: false,
  },
  files: { ignoreDotFiles: [".kopiaignore"] },
  errorHandling: {
    ignoreFileErrors: false,
    ignoreDirectoryErrors: false,
    ignoreUnknownTypes: true,
  },
  scheduling: { runMissed: true },
  compression: { compressorName: "none" },
  metadataCompression: { compressorName: "zstd-fastest" },
  osSnapshots: { volumeShadowCopy: { enable: 0 } },
  logging: {
    directories: { snapshotted: 5, ignored: 5 },
    entries: { snapshotted: 0, ignored: 5, cacheHit: 0, cacheMiss: 0 },
  },
  upload: { maxParallelSnapshots: 1, parallelUploadAboveSize: 2_147_483_648 },
};

/**
 * The global policy that a new repository holds: Kopia's defaults, and the splitter when one is named. The splitter stands in the
 * policy since Kopia falls back to its own when it does not know the name, which it would not do for the format blob.
 */
export function kopiaGlobalPolicyPayload(options: { splitter?: string | undefined } = {}): object {
  return policyToJson({
    ...DEFAULT_POLICY,
    splitter: { algorithm: options.splitter },
  });
}

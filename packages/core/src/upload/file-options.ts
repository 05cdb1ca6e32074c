import type { Codec } from "../compression/codec.ts";
import type { FileToRead } from "../pipeline/executor.ts";
import { metadataCompressorFor } from "../policy/compression-choice.ts";
import type { Policy } from "../policy/policy.ts";
import type { Repository } from "../repository/repository.ts";

// Enough for 200 TB at the default size; a policy that asks for more would only cost memory.
const MAX_SECTIONS = 100_000;

/** Kopia's default, which reads a file on one core; unless a policy asks for another size, files are read in sections of ours. */
const DEFAULT_SECTION_BYTES = 2 ** 31;
const OWN_SECTION_BYTES = 2 ** 28;

/** What a policy says about how bytes are stored. */

/** The codec of directories and of the indexes of long files; none with index version 1 (spec §3.4). */
export function metadataCodec(repository: Repository, policy: Policy): Codec | undefined {
  const name = metadataCompressorFor(policy);
  return name === "none" || repository.format.indexVersion === 1
    ? undefined
    : repository.codecs.byName(name);
}

/**
 * The sections that a file is read in, at the same time: whole, or cut at multiples of the policy's size (spec §5.2, forced boundaries).
 * Ours divides the default, so that the boundaries of files that Kopia has cut are among them.
 */
export function fileSections(
  policy: Policy,
  sizeBytes: number,
): readonly Pick<FileToRead, "offset" | "length">[] {
  const asked = policy.upload?.parallelUploadAboveSize ?? -1;
  const sectionBytes = asked === DEFAULT_SECTION_BYTES ? OWN_SECTION_BYTES : asked;
  const fits = sectionBytes <= 0 || sizeBytes <= sectionBytes;
  if (fits || sizeBytes / sectionBytes > MAX_SECTIONS) {
    return [{ offset: 0 }];
  }
  const fullSections = Math.floor(sizeBytes / sectionBytes);
  return [
    ...Array.from({ length: fullSections }, (_, index) => ({
      offset: index * sectionBytes,
      length: sectionBytes,
    })),
    // Without a length, so that a growing file is followed to its end; empty for an exact multiple.
    { offset: fullSections * sectionBytes },
  ];
}

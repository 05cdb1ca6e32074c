import type { Policy } from "./policy.ts";

/** Name of the codec for a file's data under an effective policy, `none` for none (spec §6.6). */
export function compressorFor(
  policy: Policy,
  file: { readonly name: string; readonly sizeBytes: number },
): string {
  const { compressorName, onlyCompress, neverCompress, minSize, maxSize } =
    policy.compression ?? {};
  const extension = file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")) : "";
  if (
    (minSize !== undefined && minSize > 0 && file.sizeBytes < minSize) ||
    (maxSize !== undefined && maxSize > 0 && file.sizeBytes > maxSize)
  ) {
    return "none";
  }
  // A list of what to compress excludes nothing else: all it does is to win against `neverCompress`.
  const never =
    onlyCompress?.includes(extension) !== true && neverCompress?.includes(extension) === true;
  return never ? "none" : compressorName || "none";
}

/** Name of the codec for directory records and index streams, `none` for none. */
export function metadataCompressorFor(policy: Policy): string {
  return policy.metadataCompression?.compressorName || "none";
}

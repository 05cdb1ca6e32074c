import { VarveError } from "../base/errors.ts";
import type { BlobId } from "./store.ts";

/** The part of a blob of `size` bytes that a `get` asks for: all of it without `range`. Throws `range-invalid`. */
export function resolveRange(
  id: BlobId,
  size: number,
  range: { readonly offset: number; readonly length: number } | undefined,
): { offset: number; length: number } {
  const { offset, length } = range ?? { offset: 0, length: size };
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (!whole || offset < 0 || length < 0 || offset + length > size) {
    throw new VarveError(
      "range-invalid",
      `get ${id}: ${length} bytes at ${offset} of a blob of ${size} bytes`,
    );
  }
  return { offset, length };
}

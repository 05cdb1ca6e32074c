import { VarveError } from "../base/errors.ts";

/**
 * Runs a library's decoder on a stream of unknown origin: whatever it throws becomes `corrupt`, and so does output
 * beyond `maxSize`. The result is a plain `Uint8Array` that the caller owns.
 */
export function runDecoder(name: string, maxSize: number, decode: () => Uint8Array): Uint8Array {
  let output: Uint8Array;
  try {
    output = decode();
  } catch (cause) {
    throw new VarveError("corrupt", `${name}: the stream does not decode`, { cause });
  }
  if (output.length > maxSize) {
    throw tooLong(name, maxSize);
  }
  return plainBytes(output);
}

export function tooLong(name: string, maxSize: number): VarveError {
  return new VarveError("corrupt", `${name}: the stream holds more than ${maxSize} bytes`);
}

/** The same bytes without the `Buffer` that Node's libraries return. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

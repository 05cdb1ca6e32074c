import { equalBytes } from "../base/bytes.ts";
import { type ErrorCode, errorMessage, isVarveError } from "../base/errors.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";

/** The few assertions that published test cases need, so that they run under any test runner and under none. */

/** One thing to check, on a store that holds no blob with an id of `id`. */
export interface StoreCheck {
  readonly name: string;
  check(store: BlobStore, id: (rest: string) => BlobId): Promise<void>;
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) {
    throw new Error(`check failed: ${what}`);
  }
}

/** Names the first difference, not the bytes. */
export function checkBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  check(
    equalBytes(actual, expected),
    `${what}: got ${describe(actual)}, expected ${describe(expected)}`,
  );
}

/** `running` must fail with `code`. */
export async function checkFails(
  running: Promise<unknown>,
  code: ErrorCode,
  what: string,
): Promise<void> {
  const outcome = await running.then(
    () => "it succeeded",
    (error: unknown) =>
      isVarveError(error) ? error.code : `an error without code: ${errorMessage(error)}`,
  );
  check(outcome === code, `${what}: expected ${code}, but ${outcome}`);
}

function describe(bytes: Uint8Array): string {
  const start = [...bytes.subarray(0, 8)].join(" ");
  return `${bytes.length} bytes (${start}${bytes.length > 8 ? " …" : ""})`;
}

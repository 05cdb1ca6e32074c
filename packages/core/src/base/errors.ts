/**
 * The closed set of failures a caller can branch on. A code says what kind of thing went wrong;
 * the message says what was attempted, on what, and what was seen.
 */
export type ErrorCode =
  | "blob-not-found"
  | "blob-exists"
  | "blob-locked"
  | "range-invalid"
  | "access-denied"
  | "storage-failed"
  | "storage-full"
  | "unsupported"
  | "content-not-found"
  | "object-not-found"
  | "manifest-not-found"
  | "not-a-repository"
  | "repository-exists"
  | "wrong-password"
  | "format-unsupported"
  | "corrupt"
  | "read-only"
  | "not-owner"
  | "over-plan"
  | "source-failed"
  | "target-failed"
  | "action-failed"
  | "invalid-argument";

/**
 * The one error class of varve. `cause` is always the error that was wrapped, when there was one. A program may hold several copies
 * of it, one in a bundle and one in a package that the bundle loads: an error of any of them is an instance of each.
 */
export class VarveError extends Error {
  override readonly name = "VarveError";
  readonly code: ErrorCode;
  /** True when the same call may succeed later; set by the storage adapter, read only by the retry wrapper. */
  readonly retryable: boolean;
  /** How long storage asked to be left alone before the same call, as by `Retry-After`. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; retryable?: boolean; retryAfterMs?: number | undefined } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }

  static override [Symbol.hasInstance](value: unknown): value is VarveError {
    return value instanceof Error && value.name === "VarveError" && "code" in value;
  }
}

/** True when `error` is a {@link VarveError} and, if `code` is given, has that code. */
export function isVarveError(error: unknown, code?: ErrorCode): error is VarveError {
  return error instanceof VarveError && (code === undefined || error.code === code);
}

/** One line that says what went wrong, for reports: the message of an `Error`, else its text. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** States what must hold if the program is right; its failure is a bug, not an error code. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) {
    throw new Error(`assertion failed: ${what}`);
  }
}

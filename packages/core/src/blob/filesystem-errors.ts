import { type ErrorCode, VarveError } from "../base/errors.ts";

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "blob-not-found",
  EEXIST: "blob-exists",
  ENOSPC: "storage-full",
  EDQUOT: "storage-full",
  EACCES: "access-denied",
  EPERM: "access-denied",
  EROFS: "read-only",
};

// Too many open files, interrupted, busy, or a network file system that lost its handle: a later try may succeed.
const RETRYABLE: ReadonlySet<string> = new Set([
  "EMFILE",
  "ENFILE",
  "EAGAIN",
  "EBUSY",
  "EINTR",
  "ESTALE",
  "ETIMEDOUT",
]);

/** The name of an operating system error (`ENOENT`); `undefined` for anything else that was thrown. */
export function systemErrorName(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

/** Wraps an operating system error with a blob code; `codes` says what some names mean to this operation. Other errors pass as they are. */
export function fileSystemError(
  error: unknown,
  what: string,
  codes: Readonly<Record<string, ErrorCode>> = {},
): unknown {
  const name = systemErrorName(error);
  if (name === undefined || error instanceof VarveError) {
    return error;
  }
  const code = codes[name] ?? CODES[name] ?? "storage-failed";
  return new VarveError(code, `${what}: ${name}`, { cause: error, retryable: RETRYABLE.has(name) });
}

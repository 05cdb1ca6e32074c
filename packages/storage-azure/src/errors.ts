import { RestError } from "@azure/storage-blob";
import { type ErrorCode, VarveError } from "@varve/core/blob";

/**
 * What the SDK throws, as errors with a code. An error of the SDK carries its request, with the signature in the URL
 * and the headers; none of it is kept: the cause is a new error with the service's code, status, request id and message.
 */

/** What a request needs, to be named when it is refused. */
export type Permission = "read" | "list" | "write" | "delete" | "set immutability on";

/** What errors of one container have in common. */
export interface ErrorContext {
  readonly container: string;
  readonly account: string;
  readonly host: string;
  readonly secrets: readonly string[];
  readonly sasExpiryMs: number | undefined;
  nowMs(): number;
}

/** What was attempted. */
export interface Attempt {
  /** Such as `get p1234`. */
  readonly what: string;
  readonly needs: Permission;
}

const NEEDS: Readonly<Record<Permission, string>> = {
  read: 'SAS permission "r", or the role Storage Blob Data Reader',
  list: 'SAS permission "l" on the container, or the role Storage Blob Data Reader',
  write: 'SAS permissions "c" and "w", or the role Storage Blob Data Contributor',
  delete: 'SAS permission "d", or the role Storage Blob Data Contributor',
  "set immutability on": 'SAS permission "i", or the role Storage Blob Data Owner',
};

const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  BlobNotFound: "blob-not-found",
  InvalidRange: "range-invalid",
  BlobAlreadyExists: "blob-exists",
  BlobImmutableDueToPolicy: "blob-locked",
  BlobArchived: "storage-failed",
  // Answers of a service, or an emulator, that has no immutability for this container.
  FeatureNotSupportedForAccount: "unsupported",
  UnsupportedHeader: "unsupported",
  NotImplemented: "unsupported",
  APINotImplemented: "unsupported",
};

// A body that was damaged on its way: the same put may succeed.
const DAMAGED = /^(?:Md5Mismatch|Crc64Mismatch)$|contentMD5 doesn't match/;
const TRY_AGAIN: ReadonlySet<string> = new Set([
  "ServerBusy",
  "InternalError",
  "OperationTimedOut",
  "ContainerBeingDeleted",
  "AccountBeingCreated",
  "PARSE_ERROR",
]);
const TLS =
  /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY|DECRYPT)|ERR_TLS_CERT|HOSTNAME_MISMATCH)/;

/** The error to throw instead of `error`. A `VarveError` gets no new meaning here, only a longer message. */
export function azureError(error: unknown, attempt: Attempt, context: ErrorContext): VarveError {
  if (error instanceof VarveError) {
    const { code, message, cause, retryable } = error;
    return new VarveError(code, `${attempt.what}: ${message}`, { cause, retryable });
  }
  const facts = factsOf(error, context.secrets);
  const fail = (code: ErrorCode, why: string, retryable = false): VarveError =>
    new VarveError(code, `${attempt.what}: ${why}`, {
      cause: causeOf(facts),
      retryable,
      retryAfterMs: facts.retryAfterMs,
    });
  const { name, status } = facts;
  const { container, account } = context;

  if (status === 401 || status === 403 || isIdentityError(error)) {
    return deniedError(facts, attempt, context, fail);
  }
  if (name === "ContainerNotFound") {
    return fail("storage-failed", `account ${account} has no container ${container}`);
  }
  if (name === "ENOTFOUND" || name === "EAI_AGAIN") {
    // No network looks the same as no account.
    const why = `the host ${context.host} is not known: is ${account} the storage account?`;
    return fail("storage-failed", why, true);
  }
  if (TLS.test(name)) {
    return fail("storage-failed", `the certificate of ${context.host} is not trusted: ${name}`);
  }
  const known = BY_CODE[name] ?? (name === "" && status === 404 ? "blob-not-found" : undefined);
  if (known !== undefined) {
    return fail(known, facts.message);
  }
  const retryable =
    TRY_AGAIN.has(name) ||
    DAMAGED.test(name) ||
    DAMAGED.test(facts.message) ||
    (status === undefined ? facts.isTransport : status >= 500 || status === 408 || status === 429);
  return fail("storage-failed", facts.message, retryable);
}

/** An error while a body was on its way: the connection failed, whatever its name. */
export function brokenBody(error: unknown): VarveError {
  const message = error instanceof Error ? error.message : String(error);
  return new VarveError("storage-failed", `the answer broke off: ${message}`, { retryable: true });
}

function deniedError(
  facts: Facts,
  attempt: Attempt,
  context: ErrorContext,
  fail: (code: ErrorCode, why: string, retryable?: boolean) => VarveError,
): VarveError {
  const { container, account, sasExpiryMs } = context;
  if (sasExpiryMs !== undefined && sasExpiryMs <= context.nowMs()) {
    const at = new Date(sasExpiryMs).toISOString();
    return fail("access-denied", `the SAS token expired at ${at}`);
  }
  if (facts.status === undefined) {
    const why = `no token for account ${account}: ${facts.message}`;
    return fail("access-denied", why, facts.isTransport);
  }
  if (/PermissionMismatch|ResourceTypeMismatch|ServiceMismatch/.test(facts.name)) {
    const needs = `${attempt.needs} blobs of container ${container} (${NEEDS[attempt.needs]})`;
    return fail("access-denied", `the credentials may not ${needs}`);
  }
  const hint = /date header/i.test(facts.message)
    ? `the clock of this machine is off; there it is ${facts.date}`
    : (facts.timeDetail ?? "is the key or the SAS token right?");
  if (facts.name === "AuthenticationFailed" || /failed to authenticate/i.test(facts.message)) {
    return fail("access-denied", `account ${account} does not accept the credentials: ${hint}`);
  }
  return fail("access-denied", `container ${container} of account ${account}: ${facts.message}`);
}

interface Facts {
  /** The service's code, or that of the system for a connection; empty when there is none. */
  readonly name: string;
  /** `undefined` when the request did not get as far as an answer. */
  readonly status: number | undefined;
  readonly message: string;
  /** Which time was wrong, if the service says so. */
  readonly timeDetail?: string | undefined;
  readonly requestId?: string | undefined;
  /** The service's clock. */
  readonly date?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  /** True for failures of a connection, the service's or that of the directory service. */
  readonly isTransport: boolean;
}

function factsOf(error: unknown, secrets: readonly string[]): Facts {
  const text = error instanceof Error ? error.message : String(error);
  const firstLine = redact(text.split("\n", 1)[0] ?? "", secrets).slice(0, 300);
  if (!(error instanceof RestError)) {
    const code = fieldOf(error, "code");
    const name = typeof code === "string" ? code : "";
    const identityStatus = isIdentityError(error) ? Number(fieldOf(error, "statusCode") ?? 0) : 0;
    const isTransport = identityStatus >= 500 || TRANSPORT.test(`${name} ${text}`);
    return { name, status: undefined, message: firstLine, isTransport };
  }
  const { statusCode: status, response } = error;
  const header = (name: string): string | undefined => response?.headers.get(name);
  const name = header("x-ms-error-code") ?? error.code ?? "";
  const retryAfter = Number(header("retry-after") ?? Number.NaN);
  return {
    name,
    status,
    message: firstLine === "" ? `${name} ${status ?? "without an answer"}`.trim() : firstLine,
    // Of the details only those about time: others quote signatures.
    timeDetail: TIME_DETAIL.exec(response?.bodyAsText ?? "")?.[1],
    requestId: header("x-ms-request-id"),
    date: header("date"),
    retryAfterMs: Number.isNaN(retryAfter) ? undefined : retryAfter * 1000,
    isTransport: status === undefined,
  };
}

const TRANSPORT = /ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|timed out|network_error/;
const TIME_DETAIL = /<AuthenticationErrorDetail>(Signed (?:expiry|start) time[^<]{0,200})/i;

function causeOf({ name, status, requestId, message }: Facts): Error {
  const parts = [name, status, requestId === undefined ? undefined : `request ${requestId}`];
  const seen = parts.filter((part) => part !== undefined && part !== "").join(", ");
  const cause = new Error(seen === "" ? message : `${message} (${seen})`);
  cause.name = "AzureError";
  return cause;
}

const IDENTITY_ERRORS =
  /^(?:Aggregate)?AuthenticationError$|^CredentialUnavailableError$|^AuthenticationRequiredError$/;

// By name: the package is not loaded unless its credentials are used.
function isIdentityError(error: unknown): error is Error {
  return error instanceof Error && IDENTITY_ERRORS.test(error.name);
}

function fieldOf(error: unknown, field: string): unknown {
  return typeof error === "object" && error !== null ? Reflect.get(error, field) : undefined;
}

function redact(text: string, secrets: readonly string[]): string {
  const clean = text.replace(/\bsig=[^&\s"']+/gi, "sig=…");
  return secrets.reduce(
    (so, secret) => (secret.length < 4 ? so : so.replaceAll(secret, "…")),
    clean,
  );
}

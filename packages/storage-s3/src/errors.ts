import { type ErrorCode, VarveError } from "@varve/core/blob";

/**
 * What went wrong at the service, as one of varve's codes. What the SDK throws is never passed on: it holds the
 * request, and with that signatures and session tokens.
 */

/** What was tried, for messages. */
export interface Attempt {
  /** `get p3f…`. */
  readonly what: string;
  readonly bucket: string;
  /** The permissions it takes. */
  readonly needs: string;
}

interface Meaning {
  readonly code: ErrorCode;
  /** In place of the service's words. */
  readonly says?: string;
  readonly retryable?: boolean;
}

const AGAIN: Meaning = { code: "storage-failed", retryable: true };
const BAD_KEY = "the access key ID is not known there";
const EXPIRED = "the session token has expired";

/** By the service's code. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { code: "blob-not-found", says: "there is no such blob" },
  NotFound: { code: "blob-not-found", says: "there is no such blob" },
  NoSuchVersion: { code: "blob-not-found", says: "there is no such version" },
  InvalidRange: { code: "range-invalid", says: "the range does not lie in the blob" },
  PreconditionFailed: { code: "blob-exists", says: "it is there already" },
  InvalidAccessKeyId: { code: "access-denied", says: BAD_KEY },
  // The next three are of the service that gives out roles.
  InvalidClientTokenId: { code: "access-denied", says: BAD_KEY },
  InvalidIdentityTokenException: { code: "access-denied" },
  IDPRejectedClaimException: { code: "access-denied" },
  SignatureDoesNotMatch: { code: "access-denied", says: "the secret access key is wrong" },
  ExpiredToken: { code: "access-denied", says: EXPIRED },
  ExpiredTokenException: { code: "access-denied", says: EXPIRED },
  TokenRefreshRequired: { code: "access-denied", says: EXPIRED },
  InvalidToken: { code: "access-denied", says: "the session token is not valid" },
  AccountProblem: { code: "access-denied" },
  CredentialsProviderError: { code: "access-denied" },
  TokenProviderError: { code: "access-denied" },
  InvalidBucketName: { code: "invalid-argument" },
  InvalidStorageClass: { code: "invalid-argument" },
  NotImplemented: { code: "unsupported" },
  MethodNotAllowed: { code: "unsupported" },
  InvalidObjectState: {
    code: "storage-failed",
    says: "it lies in an archive and must be restored from there before it can be read",
  },
  QuotaExceeded: { code: "storage-full" },
  XMinioStorageFull: { code: "storage-full" },
  XMinioAdminBucketQuotaExceeded: { code: "storage-full" },
  SlowDown: AGAIN,
  RequestTimeout: AGAIN,
  OperationAborted: AGAIN,
  ConditionalRequestConflict: AGAIN,
  // The body was damaged on its way.
  BadDigest: AGAIN,
  IncompleteBody: AGAIN,
  XAmzContentSHA256Mismatch: AGAIN,
};

/** Amazon and versitygw; MinIO. Services have no code of its own for it. */
const LOCKED = /object protected by object lock|is WORM protected/i;

const TLS_ERROR =
  /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+)$/;

/** What an SDK error tells, whatever its class. */
interface Seen {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  /** The region that the service would have the request signed for. */
  readonly region: string | undefined;
  /** The service's clock. */
  readonly date: string | undefined;
  /** Seconds. */
  readonly retryAfter: string | undefined;
  /** Of the operating system or the TLS library. */
  readonly systemCode: string | undefined;
  readonly requestId: string | undefined;
}

/** `error`, thrown by the SDK while `attempt` was made, as a VarveError; VarveErrors pass as they are. */
export function s3Error(error: unknown, attempt: Attempt): VarveError {
  if (error instanceof VarveError) {
    return error;
  }
  const seen = look(error);
  const { code, says = describe(seen), retryable = false } = meaningOf(seen, attempt);
  const name = seen.systemCode ?? seen.name;
  const status = seen.status === undefined ? "" : ` ${seen.status}`;
  const request = seen.requestId === undefined ? "" : ` (request ${seen.requestId})`;
  const cause = new Error(describe(seen) + request);
  cause.name = name;
  return new VarveError(code, `${attempt.what}: ${says} (${name}${status})`, {
    cause,
    retryable,
    retryAfterMs: millisecondsOf(seen.retryAfter),
  });
}

function millisecondsOf(seconds: string | undefined): number | undefined {
  return seconds !== undefined && /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}

/** The region that the service named in refusing a request, if that was why. */
export function rightRegion(error: unknown): string | undefined {
  const seen = look(error);
  const { region, name, status } = seen;
  return status === 301 || /Redirect|AuthorizationHeaderMalformed|IllegalLocation/.test(name)
    ? region
    : undefined;
}

function meaningOf(seen: Seen, { bucket, needs }: Attempt): Meaning {
  const { name, status, systemCode = "" } = seen;
  if (name === "NoSuchBucket") {
    return { code: "storage-failed", says: `there is no bucket ${JSON.stringify(bucket)}` };
  }
  if (name === "RequestTimeTooSkewed") {
    const theirs = seen.date === undefined ? "" : `; there it is ${seen.date}`;
    return { code: "storage-failed", says: `the clock of this machine is off${theirs}` };
  }
  if (status === 301 || status === 307 || name === "AuthorizationHeaderMalformed") {
    const says = `bucket ${JSON.stringify(bucket)} is in another region`;
    return {
      code: "invalid-argument",
      says:
        seen.region === undefined ? `${says} or at another endpoint` : `${says}: ${seen.region}`,
    };
  }
  if (TLS_ERROR.test(systemCode)) {
    return {
      code: "storage-failed",
      says: `the server's certificate is not trusted: ${systemCode}`,
    };
  }
  if (status === 403 && /\bsts:\w+/.test(seen.message)) {
    return { code: "access-denied", says: `the role cannot be assumed: ${describe(seen)}` };
  }
  const known = MEANINGS[name];
  if (known !== undefined) {
    return known;
  }
  if (LOCKED.test(seen.message)) {
    return { code: "blob-locked", says: "it is locked until its retention ends" };
  }
  if (/object ?lock/i.test(seen.message) && status === 400) {
    return { code: "unsupported" };
  }
  return byStatus(status, needs);
}

/** HEAD requests have no body, and so no code; and services differ. */
function byStatus(status: number | undefined, needs: string): Meaning {
  switch (status) {
    case 401:
    case 403:
      return { code: "access-denied", says: `not permitted; it takes ${needs}` };
    case 404:
      return { code: "blob-not-found", says: "there is no such blob" };
    case 405:
    case 501:
      return { code: "unsupported" };
    case 408:
    case 425:
    case 429:
      return AGAIN;
    case 412:
      return { code: "blob-exists", says: "it is there already" };
    case 416:
      return { code: "range-invalid", says: "the range does not lie in the blob" };
    case 507:
      return { code: "storage-full" };
    default:
      // No answer at all, one that was cut short or garbled, or the service's own fault.
      return {
        code: "storage-failed",
        retryable: status === undefined || status < 400 || status >= 500,
      };
  }
}

const MAX_MESSAGE = 300;

function describe({ name, message }: Seen): string {
  const text = message === "" || message === "UnknownError" ? name : message;
  return text.replaceAll(/\s+/g, " ").slice(0, MAX_MESSAGE);
}

function look(error: unknown): Seen {
  const { name, message, code, Region, $metadata, $response } = fieldsOf(error);
  const headers = fieldsOf(fieldsOf($response).headers);
  const { httpStatusCode, requestId } = fieldsOf($metadata);
  return {
    name: textOf(name) ?? "Error",
    message: textOf(message) ?? "",
    status: typeof httpStatusCode === "number" ? httpStatusCode : undefined,
    region: textOf(Region) ?? textOf(headers["x-amz-bucket-region"]),
    date: textOf(headers.date),
    retryAfter: textOf(headers["retry-after"]),
    systemCode: textOf(code),
    requestId: textOf(requestId),
  };
}

function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

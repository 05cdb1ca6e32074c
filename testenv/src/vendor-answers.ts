/** What the services answer when they refuse, in their own words: clients look at these codes. */

export type Vendor = "s3" | "azure" | "gcs";

export type FaultKind =
  /** The service fails. */
  | "error-500"
  /** The service has too much to do. */
  | "error-503"
  /** The client asks too often. */
  | "error-429"
  /** The credential was good once. */
  | "expired"
  /** The credential may not do this. */
  | "forbidden"
  /** The client's clock is wrong. */
  | "skewed"
  /** No answer, for a long time. */
  | "hang"
  /** The connection ends in the middle of the request's body: nothing is done. */
  | "reset-request"
  /** The request was carried out, and the connection ends before the answer. */
  | "lost-answer"
  /** The connection ends in the middle of the answer's body. */
  | "reset-response"
  /** The answer's body is shorter, and its length says so. */
  | "truncate-response"
  /** One bit of the answer's body is wrong. */
  | "corrupt-response"
  /** One bit of the request's body is wrong. */
  | "corrupt-request"
  /** The answer comes in small pieces. */
  | "drip"
  /** A listing as it was when it was first asked for. */
  | "stale-list";

export interface VendorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

type Refusal = readonly [status: number, code: string, message: string];

const REFUSALS: Readonly<Partial<Record<FaultKind, Readonly<Record<Vendor, Refusal>>>>> = {
  "error-500": {
    s3: [500, "InternalError", "We encountered an internal error. Please try again."],
    azure: [
      500,
      "InternalError",
      "The server encountered an internal error. Please retry the request.",
    ],
    gcs: [500, "backendError", "Backend Error"],
  },
  "error-503": {
    s3: [503, "SlowDown", "Please reduce your request rate."],
    azure: [503, "ServerBusy", "The server is busy."],
    gcs: [503, "backendError", "Service Unavailable"],
  },
  "error-429": {
    s3: [429, "TooManyRequests", "Please reduce your request rate."],
    azure: [429, "TooManyRequests", "Too many requests."],
    gcs: [429, "rateLimitExceeded", "The rate of requests exceeds the limit."],
  },
  expired: {
    s3: [400, "ExpiredToken", "The provided token has expired."],
    azure: [401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired."],
    gcs: [401, "authError", "Invalid Credentials"],
  },
  forbidden: {
    s3: [403, "AccessDenied", "Access Denied"],
    azure: [
      403,
      "AuthorizationPermissionMismatch",
      "This request is not authorized to perform this operation using this permission.",
    ],
    gcs: [
      403,
      "forbidden",
      "me@project.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object.",
    ],
  },
  skewed: {
    s3: [
      403,
      "RequestTimeTooSkewed",
      "The difference between the request time and the current time is too large.",
    ],
    azure: [
      403,
      "AuthenticationFailed",
      "Server failed to authenticate the request. Make sure the date header is within 15 minutes.",
    ],
    gcs: [
      403,
      "requestTimeTooSkewed",
      "The difference between the request time and the server's time is too large.",
    ],
  },
};

/** `undefined` for faults that are not answers of the service. */
export function vendorAnswer(
  vendor: Vendor,
  kind: FaultKind,
  retryAfterSeconds?: number,
): VendorAnswer | undefined {
  const refusal = REFUSALS[kind]?.[vendor];
  if (refusal === undefined) {
    return undefined;
  }
  const [status, code] = refusal;
  const retries = status === 429 || status === 503;
  const wait =
    retries && retryAfterSeconds !== undefined ? { "retry-after": String(retryAfterSeconds) } : {};
  const body = bodyOf(vendor, refusal);
  const headers: Record<string, string> = {
    "content-type": vendor === "gcs" ? "application/json" : "application/xml",
    "content-length": String(Buffer.byteLength(body)),
    ...wait,
  };
  if (vendor === "azure") {
    headers["x-ms-error-code"] = code;
    headers["x-ms-version"] = "2024-11-04";
  }
  return { status, headers, body };
}

function bodyOf(vendor: Vendor, [status, code, message]: Refusal): string {
  return vendor === "gcs"
    ? JSON.stringify({
        error: { code: status, message, errors: [{ domain: "global", reason: code, message }] },
      })
    : `<?xml version="1.0" encoding="utf-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
}

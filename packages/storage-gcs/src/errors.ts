import { type ErrorCode, VarveError } from "@varve/core/blob";

/** What an answer of the service means, as an error of ours that holds none of the request's secrets. */

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}

export interface RefusedCall {
  /** What was attempted, such as `put p1234`. */
  readonly what: string;
  readonly bucket: string;
  /** Whether it was about an object that exists; else only the bucket can be missing. */
  readonly ofObject: boolean;
}

/** The error for an answer that is not a success. */
export function refusalError(call: RefusedCall, refusal: Refusal): VarveError {
  const { message, reason } = parseRefusal(refusal.body);
  const { code, retryable = false, hint } = classify(refusal.status, { ...call, message, reason });
  const said = message === "" ? `HTTP status ${refusal.status}` : message;
  const text = hint === undefined ? said : `${hint} (${said})`;
  const retryAfterMs = millisecondsOf(refusal.headers["retry-after"]);
  return new VarveError(code, `${call.what}: ${text}`, { retryable, retryAfterMs });
}

function millisecondsOf(seconds: string | string[] | undefined): number | undefined {
  return typeof seconds === "string" && /^\d{1,6}$/.test(seconds)
    ? Number(seconds) * 1000
    : undefined;
}

/** The error for a request that got no whole answer: reset, refused, or no such host. */
export function connectionError(what: string, error: unknown): VarveError {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  const isTrust = typeof code === "string" && /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code);
  const said = plainText(`${typeof code === "string" ? `${code}: ` : ""}${String(message)}`);
  const text = isTrust ? `the server's certificate is not trusted: ${said}` : said;
  return new VarveError("storage-failed", `${what}: ${text}`, {
    cause: error,
    retryable: !isTrust,
  });
}

interface Verdict {
  readonly code: ErrorCode;
  readonly retryable?: boolean;
  readonly hint?: string;
}

interface Said extends RefusedCall {
  readonly message: string;
  readonly reason: string;
}

function classify(status: number, said: Said): Verdict {
  const { message, reason, bucket, ofObject } = said;
  if (status === 408 || status === 429 || status >= 500 || /ratelimit/i.test(reason)) {
    return { code: "storage-failed", retryable: true };
  }
  if (
    (status === 400 || status === 412) &&
    /retention.*\b(?:enabled|configured|supported)/i.test(message)
  ) {
    return { code: "unsupported", hint: `bucket ${bucket} has no object retention` };
  }
  switch (status) {
    case 400:
      // What arrived was not what was sent.
      return { code: "storage-failed", retryable: /md5|crc32c|hash|checksum/i.test(message) };
    case 401:
    case 403:
      return isLocked(said)
        ? { code: "blob-locked", hint: "the blob is locked by retention" }
        : { code: "access-denied", hint: denial(status, said) };
    case 404:
      return !ofObject || /bucket does not exist|no such bucket|bucket not found/i.test(message)
        ? { code: "storage-failed", hint: `there is no bucket ${bucket}` }
        : { code: "blob-not-found" };
    case 412:
      return { code: "blob-exists" };
    case 416:
      return { code: "range-invalid" };
    default:
      return { code: "storage-failed" };
  }
}

/** Not so where a permission is missing: messages about those name it. */
function isLocked({ message, reason }: Said): boolean {
  return (
    !NAMED_PERMISSION.test(message) &&
    /\bretention|\bholds?\b|ActiveHold/i.test(`${reason} ${message}`)
  );
}

const NAMED_PERMISSION = /\bstorage\.[a-zA-Z]+\.[a-zA-Z]+\b/;

function denial(status: number, { message, bucket }: Said): string {
  const permission = NAMED_PERMISSION.exec(message)?.[0];
  const missing = permission === undefined ? "" : `permission ${permission} on bucket ${bucket}`;
  if (/anonymous/i.test(message)) {
    return `not authenticated${missing === "" ? "" : `, and everybody lacks ${missing}`}`;
  }
  if (permission !== undefined) {
    return `the credentials lack ${missing}`;
  }
  return status === 401 ? "the credentials are expired or not valid" : "the request is not allowed";
}

// Longer answers are pages of some proxy.
const MAX_REFUSAL_SIZE = 65_536;

/** Reads `{ error: { message, errors: [{ reason }] } }` or plain text, as a download has it. */
function parseRefusal(body: Uint8Array): { message: string; reason: string } {
  const text = new TextDecoder().decode(body.subarray(0, MAX_REFUSAL_SIZE));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { message: plainText(text), reason: "" };
  }
  const error = member(value, "error");
  const errors = member(error, "errors");
  const reason = member(Array.isArray(errors) ? errors[0] : undefined, "reason");
  const message = member(error, "message");
  return {
    message: typeof message === "string" ? plainText(message) : "",
    reason: typeof reason === "string" ? reason : "",
  };
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Readonly<Record<string, unknown>>)[name] // an object is one
    : undefined;
}

const MAX_SAID_LENGTH = 300;
// Bearer tokens, access tokens of Google, signed tokens, and keys in PEM.
const SECRETS = /Bearer\s+\S+|ya29\.[\w.-]+|eyJ[\w-]+\.[\w.-]+|-----BEGIN[\s\S]*/g;

/** A stranger's text as one short line, with what looks like a secret taken out. */
export function plainText(text: string): string {
  return text.replace(SECRETS, "[secret]").replace(/\s+/g, " ").trim().slice(0, MAX_SAID_LENGTH);
}

import { VarveError } from "@varve/core/blob";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { s3Error } from "./errors.ts";

const attempt = { what: "put a", bucket: "b", needs: "s3:PutObject" };

test.each([
  ["InternalError", 500, "storage-failed", true],
  ["SlowDown", 503, "storage-failed", true],
  ["TooManyRequests", 429, "storage-failed", true],
  ["RequestTimeout", 400, "storage-failed", true],
  ["BadDigest", 400, "storage-failed", true],
  ["OperationAborted", 409, "storage-failed", true],
  ["TimeoutError", undefined, "storage-failed", true],
  ["SyntaxError", 200, "storage-failed", true],
  ["InvalidRequest", 400, "storage-failed", false],
  ["RequestTimeTooSkewed", 403, "storage-failed", false],
  ["NoSuchBucket", 404, "storage-failed", false],
  ["AccessDenied", 403, "access-denied", false],
  ["ExpiredToken", 400, "access-denied", false],
  ["CredentialsProviderError", undefined, "access-denied", false],
  ["PermanentRedirect", 301, "invalid-argument", false],
  ["NoSuchKey", 404, "blob-not-found", false],
  ["PreconditionFailed", 412, "blob-exists", false],
  ["InvalidRange", 416, "range-invalid", false],
  ["NotImplemented", 501, "unsupported", false],
  ["XMinioStorageFull", 507, "storage-full", false],
])("%s %s is %s, retryable: %s", (name, httpStatusCode, code, retryable) => {
  const error = Object.assign(new Error("words"), { name, $metadata: { httpStatusCode } });
  expect(s3Error(error, attempt)).toMatchObject({ code, retryable });
});

test.each([
  ["AccessDenied", "Access Denied because object protected by object lock.", "blob-locked"],
  ["InvalidRequest", "Object is WORM protected and cannot be overwritten", "blob-locked"],
  ["InvalidRequest", "Bucket is missing ObjectLockConfiguration", "unsupported"],
  ["AccessDenied", "not authorized to perform: s3:PutObjectRetention", "access-denied"],
])("%s %j is %s", (name, message, code) => {
  const httpStatusCode = name === "AccessDenied" ? 403 : 400;
  const error = Object.assign(new Error(message), { name, $metadata: { httpStatusCode } });
  expect(s3Error(error, attempt).code).toBe(code);
});

test.each([
  ["ECONNRESET", true],
  ["ENOTFOUND", true],
  ["EPIPE", true],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", false],
  ["CERT_HAS_EXPIRED", false],
])("%s is a failure, retryable: %s", (code, retryable) => {
  const error = Object.assign(new Error("words"), { code });
  expect(s3Error(error, attempt)).toMatchObject({ code: "storage-failed", retryable });
});

test("whatever is thrown becomes a VarveError", () => {
  const record = fc.record(
    {
      name: fc.anything(),
      message: fc.oneof(fc.string({ maxLength: 2000 }), fc.anything()),
      code: fc.anything(),
      $metadata: fc.oneof(fc.record({ httpStatusCode: fc.nat(600) }), fc.anything()),
      $response: fc.anything(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(record, fc.anything()), (thrown) => {
      expect(s3Error(thrown, attempt)).toBeInstanceOf(VarveError);
    }),
    { seed: 1, numRuns: 500 },
  );
});

import { expect, test } from "vitest";
import { resolveEndpoint } from "./options.ts";

test.each([
  [{ bucket: "b" }, undefined, true, false, true],
  [{ bucket: "b", endpoint: "s3.amazonaws.com" }, undefined, true, false, true],
  [{ bucket: "b.c" }, undefined, true, true, true],
  [
    { bucket: "b", endpoint: "s3.eu-west-1.amazonaws.com" },
    "https://s3.eu-west-1.amazonaws.com/",
    true,
    false,
    true,
  ],
  [{ bucket: "b", endpoint: "localhost:9000" }, "https://localhost:9000/", false, true, true],
  [
    { bucket: "b", endpoint: "http://localhost:9000" },
    "http://localhost:9000/",
    false,
    true,
    false,
  ],
  [
    { bucket: "b", endpoint: "minio:9000", tls: { disabled: true } },
    "http://minio:9000/",
    false,
    true,
    false,
  ],
  [{ bucket: "b", endpoint: "minio", forcePathStyle: false }, "https://minio/", false, false, true],
  [
    { bucket: "b", endpoint: "storage.googleapis.com" },
    "https://storage.googleapis.com/",
    false,
    false,
    true,
  ],
  [
    { bucket: "b", endpoint: "amazonaws.com.evil.org" },
    "https://amazonaws.com.evil.org/",
    false,
    true,
    true,
  ],
] as const)("%j", (options, url, isAmazon, forcePathStyle, isEncrypted) => {
  expect(resolveEndpoint(options)).toEqual({ url, isAmazon, forcePathStyle, isEncrypted });
});

test.each(["ftp://host", "https://user:secret@host", "a b", "https://host/?x"])(
  "the endpoint %j is refused, and not repeated",
  (endpoint) => {
    const resolve = (): unknown => resolveEndpoint({ bucket: "b", endpoint });
    expect(resolve).toThrow(expect.objectContaining({ code: "invalid-argument" }));
    expect(resolve).not.toThrow(/secret/);
  },
);

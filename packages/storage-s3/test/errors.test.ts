import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  type BlobStore,
  parseBlobId,
  retryStore,
  systemEnvironment,
  VarveError,
} from "@varve/core/blob";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { startS3Servers, startVersitygw, type VersitygwServer } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test } from "vitest";
import { openS3Store, type S3StoreOptions } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";

/** What users get wrong and services refuse, against real servers: a code, and words that say what to change. */

const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});
const A = parseBlobId("a");
const BYTES = Uint8Array.of(1, 2, 3);

for (const server of servers) {
  await server.createBucket("bucket");
  const options = serverOptions(server, "bucket");

  describe(server.name, () => {
    test("a bucket that is not there is named, and not made", async () => {
      const opening = openS3Store({ ...options, bucket: "no-such-bucket" });
      await expect(opening).rejects.toMatchObject({
        code: "storage-failed",
        retryable: false,
        message: expect.stringContaining('there is no bucket "no-such-bucket"'),
      });
      const again = openS3Store({ ...options, bucket: "no-such-bucket" });
      await expect(again).rejects.toMatchObject({ code: "storage-failed" });
    });

    test("an access key that is not known is said to be that", async () => {
      const keys = { kind: "keys", accessKeyId: "nobody", secretAccessKey: "secret-x" } as const;
      const opening = openS3Store({ ...options, credentials: keys });
      await expect(opening).rejects.toMatchObject({
        code: "access-denied",
        message: expect.stringContaining("access key ID is not known"),
      });
    });

    test("a server that is not there is a failure that may pass", async () => {
      const opening = openS3Store({ ...options, endpoint: "http://127.0.0.1:1" });
      await expect(opening).rejects.toMatchObject({ code: "storage-failed", retryable: true });
    });

    test("a store that was opened to read refuses to write", async () => {
      await using store = await openS3Store({ ...options, readOnly: true });
      await expect(store.put(A, [BYTES])).rejects.toMatchObject({ code: "read-only" });
      await expect(store.delete(A)).rejects.toMatchObject({ code: "read-only" });
    });
  });

  if (server.features.has("users")) {
    describe(server.name, () => {
      const versitygw = server as VersitygwServer; // it alone has users
      credentialCases(versitygw, options);
      permissionCases(versitygw, options);
    });
  }
}

function credentialCases(server: VersitygwServer, options: S3StoreOptions): void {
  const { accessKeyId, secretAccessKey } = server;

  test("a secret key that is wrong is said to be that", async () => {
    const keys = { kind: "keys", accessKeyId, secretAccessKey: "not-the-secret" } as const;
    const opening = openS3Store({ ...options, credentials: keys });
    await expect(opening).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("the secret access key is wrong"),
    });
  });

  test("a session token that the service never gave is said to be that", async () => {
    const keys = { kind: "keys", accessKeyId, secretAccessKey, sessionToken: "made up" } as const;
    await expect(openS3Store({ ...options, credentials: keys })).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("the session token is not valid"),
    });
  });

  test("a region that is wrong is named with the right one, and found when none was given", async () => {
    const opening = openS3Store({ ...options, region: "eu-west-1" });
    await expect(opening).rejects.toMatchObject({
      code: "invalid-argument",
      message: expect.stringContaining("is in another region: us-east-1"),
    });
  });

  test("secrets are neither in the label, nor in errors, nor in what inspect shows", async () => {
    const sessionToken = "a-session-token-0123456789";
    const keys = { kind: "keys", accessKeyId, secretAccessKey, sessionToken } as const;
    const failure: unknown = await openS3Store({
      ...options,
      region: "eu-west-1",
      credentials: keys,
    }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(VarveError);
    await using store = await openS3Store(options);
    const texts = [failure, store].map((value) => inspect(value, { depth: 20, showHidden: true }));
    expect([...texts, store.label].join()).not.toMatch(
      /a-session-token|varve-test-secret|Signature=/,
    );
  });
}

function permissionCases(server: VersitygwServer, options: S3StoreOptions): void {
  const openAs = async (actions: readonly string[]): Promise<BlobStore> => {
    const user = await server.createUser("bucket", actions);
    return await openS3Store(serverOptions({ ...server, ...user }, "bucket"));
  };

  test("a key that may only read can restore, and is told what it lacks to write", async () => {
    await using owner = await openS3Store(options);
    await owner.put(A, [BYTES]);
    const reader = await openAs(["s3:GetObject", "s3:ListBucket"]);
    // A server that refuses a large body may have hung up before its answer is read: tried again, it is heard.
    await using store = retryStore(reader, { environment: systemEnvironment() });
    expect(await store.get(A)).toEqual(BYTES);
    expect(await store.stat(A)).toMatchObject({ size: 3 });
    const large = [new Uint8Array(12_000_000)];
    for (const parts of [[BYTES], large]) {
      await expect(store.put(parseBlobId("b"), parts)).rejects.toMatchObject({
        code: "access-denied",
        message: expect.stringContaining("s3:PutObject"),
      });
    }
    await expect(store.delete(A)).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("s3:DeleteObject"),
    });
    expect(await owner.get(A)).toEqual(BYTES);
    await expect(owner.stat(parseBlobId("b"))).rejects.toMatchObject({ code: "blob-not-found" });
  });

  test("a key that may not list is told so", async () => {
    await using store = await openAs(["s3:GetObject", "s3:PutObject"]);
    await expect(store.list("")[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("s3:ListBucket"),
    });
  });

  test("an expired token is said to be that, and not tried again", async () => {
    await using proxy = await startFaultProxy({
      target: server.endpoint,
      faults: { rates: { expired: 1 } },
    });
    const opening = openS3Store({ ...options, endpoint: proxy.endpoint });
    await expect(opening).rejects.toMatchObject({
      code: "access-denied",
      retryable: false,
      message: expect.stringContaining("expired"),
    });
  });

  test("a clock that is off is said to be that", async () => {
    await using proxy = await startFaultProxy({
      target: server.endpoint,
      faults: { rates: { skewed: 1 } },
    });
    const opening = openS3Store({ ...options, endpoint: proxy.endpoint });
    await expect(opening).rejects.toMatchObject({
      code: "storage-failed",
      retryable: false,
      message: expect.stringContaining("clock"),
    });
  });
}

const tlsServers = servers.some(({ name }) => name === "versitygw") ? ["versitygw"] : [];
test.each(tlsServers)(
  "%s over TLS: the authority that was given is trusted, no other",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "varve-s3-tls-"));
    const { certificate, key } = makeCertificate(["127.0.0.1"]);
    const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
    writeFileSync(files.certFile, certificate);
    writeFileSync(files.keyFile, key);
    await using server = await startVersitygw(files);
    const options = serverOptions(server, "bucket");
    await expect(openS3Store(options)).rejects.toMatchObject({
      code: "storage-failed",
      retryable: false,
      message: expect.stringContaining("certificate is not trusted"),
    });
    // With the right one the server is asked, and has no such bucket.
    for (const tls of [{ caPem: certificate }, { verify: false }]) {
      await expect(openS3Store({ ...options, tls })).rejects.toMatchObject({
        message: expect.stringContaining('there is no bucket "bucket"'),
      });
    }
    rmSync(folder, { recursive: true });
  },
);

import { inspect } from "node:util";
import {
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { type BlobStore, isVarveError, parseBlobId, type VarveError } from "@varve/core/blob";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { freePort } from "@varve/testenv/process.ts";
import { afterAll, describe, expect, test } from "vitest";
import { type AzureCredentials, type AzureStoreOptions, openAzureStore } from "../src/index.ts";

/** What comes out when something is missing or wrong: an error that names it, without a secret. */

const azurite = await startAzurite();
const certificate = makeCertificate(["127.0.0.1"]);
const encrypted = await startAzurite({ certificate });
afterAll(async () => {
  await azurite.stop();
  await encrypted.stop();
});
const { endpoint, account, key } = azurite;
const container = "errors";
await azurite.createContainer(container);
await encrypted.createContainer(container);
const ID = parseBlobId("p1234");
const sharedKey: AzureCredentials = { kind: "account-key", accountKey: key };
await using owner = await openAzureStore({ container, endpoint, credentials: sharedKey });
await owner.put(ID, [Uint8Array.of(1, 2, 3)]);

const HOUR_MS = 3_600_000;

function sas(permissions: string, endsInMs = HOUR_MS): AzureCredentials & { sasToken: string } {
  const values = {
    containerName: container,
    permissions: ContainerSASPermissions.parse(permissions),
    startsOn: new Date(Date.now() - 2 * HOUR_MS),
    expiresOn: new Date(Date.now() + endsInMs),
  };
  const credential = new StorageSharedKeyCredential(account, key);
  const sasToken = generateBlobSASQueryParameters(values, credential).toString();
  return { kind: "sas", sasToken };
}

function open(options: Partial<AzureStoreOptions>): Promise<BlobStore> {
  return openAzureStore({ container, endpoint, credentials: sharedKey, ...options });
}

async function failureOf(running: Promise<unknown>): Promise<VarveError> {
  const outcome: unknown = await running.catch((error: unknown) => error);
  if (!isVarveError(outcome)) {
    throw new Error(`not an error with a code: ${inspect(outcome)}`);
  }
  return outcome;
}

describe("opening says what is wrong with", () => {
  const otherKey = Buffer.from("another key, which is wrong").toString("base64");
  const expired = sas("racwdl", -HOUR_MS);
  const cases: Record<string, [Partial<AzureStoreOptions>, string, RegExp]> = {
    "a container that is not there": [
      { container: "nowhere" },
      "storage-failed",
      /^open azure:\/\/varvetest\/nowhere\/: account varvetest has no container nowhere$/,
    ],
    "a wrong key": [
      { credentials: { kind: "account-key", accountKey: otherKey } },
      "access-denied",
      /account varvetest does not accept the credentials/,
    ],
    "a key that is none": [
      { credentials: { kind: "account-key", accountKey: "not base64!" } },
      "invalid-argument",
      /key is not base64/,
    ],
    "a SAS token that has expired": [
      { credentials: expired },
      "access-denied",
      /the SAS token expired at 20/,
    ],
    "a SAS token that may not list": [
      { credentials: sas("rw") },
      "access-denied",
      /may not list blobs of container errors \(SAS permission "l"/,
    ],
    "an account that is not there": [
      { endpoint: undefined, storageAccount: "nobody", storageDomain: "blob.invalid" },
      "storage-failed",
      /the host nobody\.blob\.invalid is not known: is nobody the storage account\?/,
    ],
    "a connection string": [
      { credentials: { kind: "connection-string", connectionString: "AccountKey=c2VjcmV0cw==" } },
      "invalid-argument",
      /^the connection string cannot be understood$/,
    ],
    "an account name": [
      { endpoint: undefined, storageAccount: "evil.example/" },
      "invalid-argument",
      /^not a storage account: "evil.example\/"$/,
    ],
    "an endpoint": [{ endpoint: "ftp://127.0.0.1" }, "invalid-argument", /not an http or https/],
    "a certificate that nobody trusts": [
      { endpoint: encrypted.endpoint },
      "storage-failed",
      /the certificate of 127\.0\.0\.1:\d+ is not trusted: DEPTH_ZERO_SELF_SIGNED_CERT$/,
    ],
    "a point in time of a container without versions": [
      { pointInTimeMs: Date.now(), container: "unversioned" },
      "unsupported",
      /a point in time needs a container with versions/,
    ],
  };
  for (const [what, [options, code, message]] of Object.entries(cases)) {
    test(what, async () => {
      if (options.container === "unversioned") {
        await azurite.createContainer("unversioned");
        await using store = await open({ container: "unversioned" });
        await store.put(parseBlobId("kopia.repository"), []);
      }
      const error = await failureOf(open(options));
      expect(error.message).toMatch(message);
      expect(error.code).toBe(code);
      const dump = `${inspect(error, { depth: 9, showHidden: true })} ${JSON.stringify(error)}`;
      for (const secret of [key, otherKey, expired.sasToken, "sig=", "c2VjcmV0cw", "SharedKey"]) {
        expect(dump).not.toContain(secret);
      }
    });
  }

  test("a port that nobody listens on, which may be over soon", async () => {
    const error = await failureOf(open({ endpoint: `http://127.0.0.1:${await freePort()}/a` }));
    expect(error).toMatchObject({ code: "storage-failed", retryable: true });
    expect(error.message).toContain("ECONNREFUSED");
  });
});

test("an own certificate authority is trusted", async () => {
  const { endpoint: encryptedEndpoint } = encrypted;
  const certificateAuthority = certificate.certificate;
  await using store = await open({ endpoint: encryptedEndpoint, certificateAuthority });
  await store.put(ID, [Uint8Array.of(7)]);
  expect(await store.get(ID)).toEqual(Uint8Array.of(7));
});

test("a SAS token that may only read reads, and what it may not is named", async () => {
  await using store = await open({ credentials: sas("rl") });
  expect(await store.get(ID)).toEqual(Uint8Array.of(1, 2, 3));
  const put = await failureOf(store.put(parseBlobId("other"), [Uint8Array.of(1)]));
  expect(put.code).toBe("access-denied");
  expect(put.message).toBe(
    'put other: the credentials may not write blobs of container errors (SAS permissions "c" and "w", or the role Storage Blob Data Contributor)',
  );
  const deleted = await failureOf(store.delete(ID));
  expect(deleted.message).toMatch(/may not delete blobs/);
  expect(deleted.retryable).toBe(false);
  expect(await owner.get(ID)).toHaveLength(3);
});

test("a SAS token that ends while the store is open is named as the reason", async () => {
  const credentials = sas("rl", 1500);
  await using store = await open({ credentials });
  const outcome = (): Promise<string> => store.get(ID).then(() => "read", String);
  await expect.poll(outcome, { timeout: 20_000 }).toMatch(/get p1234: the SAS token expired at/);
});

test("neither the store nor its label shows a secret", async () => {
  const credentials = sas("racwdl");
  for (const options of [{ credentials }, {}]) {
    await using store = await open({ ...options, prefix: "x/" });
    const dump = `${store.label} ${inspect(store, { depth: 9, showHidden: true })} ${JSON.stringify(store)}`;
    expect(dump).toContain("azure://varvetest/errors/x/");
    expect(dump).not.toContain(key);
    expect(dump).not.toContain("sig=");
  }
});

test("a store that is opened read-only refuses to write", async () => {
  await using store = await open({ readOnly: true });
  expect(await store.get(ID)).toHaveLength(3);
  expect((await failureOf(store.put(ID, []))).code).toBe("read-only");
  expect((await failureOf(store.delete(ID))).code).toBe("read-only");
});

test("a container that went away is not taken for a missing blob", async () => {
  await azurite.createContainer("short-lived");
  await using store = await open({ container: "short-lived" });
  expect((await failureOf(store.get(ID))).code).toBe("blob-not-found");
  expect((await failureOf(store.stat(ID))).code).toBe("blob-not-found");
  await azurite.deleteContainer("short-lived");
  for (const call of [store.get(ID), store.stat(ID), store.delete(ID), store.put(ID, [])]) {
    expect(await failureOf(call)).toMatchObject({ code: "storage-failed", retryable: false });
  }
});

test("how long the service asks to be left alone is told", async () => {
  const { origin, pathname } = new URL(endpoint);
  await using proxy = await startFaultProxy({ target: origin, vendor: "azure" });
  await using store = await open({ endpoint: proxy.endpoint + pathname });
  proxy.setFaults({ rates: { "error-503": 1 }, retryAfterSeconds: 7 });
  expect(await failureOf(store.stat(ID))).toMatchObject({ retryable: true, retryAfterMs: 7_000 });
});

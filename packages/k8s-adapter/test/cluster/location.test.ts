import { generateKeyPairSync } from "node:crypto";
import { parseBlobId, systemEnvironment } from "@varve/core";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { cluster } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { startVersitygw } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test } from "vitest";
import { downloadControllers } from "../../src/download/download-controllers.ts";
import { locationControllers } from "../../src/location/sync-controller.ts";
import { type BackupStorageLocation, VELERO } from "../../src/velero/resources.ts";
import { eventually, startLocationServer } from "./location-server.ts";

/** Locations on an S3 server, as a cluster's operator sees them. */

const s3 = await startVersitygw();
await s3.createBucket("backups");
await s3.createBucket("foreign");
const settings = { storeValidationMs: 1000, backupSyncMs: 1000 };
const plugins = [{ name: "velero.io/pod", kind: "BackupItemAction" }];
const server = await startLocationServer(
  [...locationControllers(), ...downloadControllers({ version: "v0.1.0", plugins })],
  { settings },
);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await s3.stop();
});
const { kube, namespace, context } = server;

const cloud = (secret = s3.secretAccessKey): string =>
  `[default]\naws_access_key_id=${s3.accessKeyId}\naws_secret_access_key=${secret}\n`;
const config = { region: s3.region, s3Url: s3.endpoint, s3ForcePathStyle: "true" };
const locate = (name: string, objectStorage: object, more: object = {}): Promise<unknown> =>
  server.create(VELERO.backupStorageLocations, name, {
    spec: {
      provider: "aws",
      config,
      objectStorage: { bucket: "backups", ...objectStorage },
      ...more,
    },
  });
const find = async (name: string): Promise<BackupStorageLocation> =>
  (await kube.get(VELERO.backupStorageLocations, { namespace, name })) as BackupStorageLocation;
const inPhase = (name: string, phase: string): Promise<BackupStorageLocation> =>
  eventually(`location ${name} is ${phase}`, async () => {
    const location = await find(name);
    return location.status?.phase === phase ? location : undefined;
  });
await server.secret("cloud-credentials", { cloud: cloud() });

describe("a backup storage location", () => {
  test("claim 10, 12, 36: becomes Available, with the columns that the document shows", async () => {
    await locate("velero-sample-1", { prefix: "/one/" }, { default: true });
    const { status } = await inPhase("velero-sample-1", "Available");
    const age = systemEnvironment().nowMs() - Date.parse(status?.lastValidationTime ?? "");
    expect(age).toBeLessThan(60_000);
    const table = await kubectl(cluster, ["get", "-n", namespace, "backupStorageLocations"]);
    expect(table).toMatch(
      /^NAME +PHASE +LAST VALIDATED +AGE +DEFAULT\nvelero-sample-1 +Available +\S+ +\S+ +true\n$/,
    );
  });

  test("claim 12: without its store it is Unavailable, says why, and comes back", async () => {
    const gone = await startVersitygw();
    await gone.createBucket("backups");
    const credential = { name: "gone", key: "cloud" };
    const keys = `aws_access_key_id=${gone.accessKeyId}\naws_secret_access_key=${gone.secretAccessKey}`;
    await server.secret("gone", { cloud: `[default]\n${keys}\n` });
    await locate("unplugged", {}, { credential, config: { ...config, s3Url: gone.endpoint } });
    await inPhase("unplugged", "Available");
    await gone.stop();
    const { status } = await inPhase("unplugged", "Unavailable");
    expect(status?.message).not.toBe("");
    const { body } = await context.metrics.text();
    expect(body).toContain('varve_location_available{location="unplugged"} 0');
    const patch = { spec: { config, credential: null } };
    const where = { namespace, name: "unplugged" };
    await kube.mergePatch(VELERO.backupStorageLocations, where, patch);
    const back = await inPhase("unplugged", "Available");
    expect(back.status?.message).toBeUndefined();
    await kube.delete(VELERO.backupStorageLocations, where);
  });

  for (const [name, objectStorage, more, message] of [
    ["no-bucket", { bucket: "nothing-here" }, {}, /bucket/i],
    ["slash", { bucket: "a/b" }, {}, /slash/],
    [
      "two-cas",
      { caCert: "eA==", caCertRef: { name: "a", key: "b" } },
      {},
      /both caCert and caCertRef/,
    ],
    ["no-secret", {}, { credential: { name: "nobody", key: "x" } }, /no key x in a secret nobody/],
    ["provider", {}, { provider: "ftp" }, /provider "ftp"/],
    ["unknown-key", {}, { config: { ...config, colour: "red" } }, /unknown key "colour"/],
  ] as const) {
    test(`claim 10: ${name} is Unavailable with a clear text`, async () => {
      await locate(name, objectStorage, more);
      const { status } = await inPhase(name, "Unavailable");
      expect(status?.message).toMatch(message);
      await kube.delete(VELERO.backupStorageLocations, { namespace, name });
    });
  }

  test("a wrong key is told without the key", async () => {
    await server.secret("wrong", { cloud: cloud("not-the-secret-of-anyone") });
    await locate("wrong", {}, { credential: { name: "wrong", key: "cloud" } });
    const { status } = await inPhase("wrong", "Unavailable");
    expect(status?.message).not.toContain("not-the-secret");
    await server.secret("wrong", { cloud: cloud() });
    await inPhase("wrong", "Available"); // a changed secret is noticed
    await kube.delete(VELERO.backupStorageLocations, { namespace, name: "wrong" });
  });

  test("a folder at the top that is not Velero's is refused", async () => {
    await locate("foreign", { bucket: "foreign" });
    await inPhase("foreign", "Available");
    await using location = await context.locations.open("foreign");
    const blob = parseBlobId("blob");
    await location.bucket.store("docker/").put(blob, [Uint8Array.of(1)]);
    const { status } = await inPhase("foreign", "Unavailable");
    expect(status?.message).toContain("docker");
    await location.bucket.store("docker/").delete(blob);
    await inPhase("foreign", "Available");
  });

  test("the youngest of several defaults stays one", async () => {
    await systemEnvironment().sleep(1100); // ages are whole seconds
    await locate("second", { prefix: "second" }, { default: true });
    await eventually("one default", async () =>
      (await find("velero-sample-1")).spec.default === false ? true : undefined,
    );
    expect((await find("second")).spec.default).toBe(true);
  });

  test("claim 16: files land in the one that is named; unknown and read-only ones are refused", async () => {
    await locate("frozen", { prefix: "second" }, { accessMode: "ReadOnly" });
    const file = parseBlobId("velero-backup.json");
    await using second = await context.locations.open("second");
    await second.backupFiles("b").put(file, [Uint8Array.of(1)]);
    await using first = await context.locations.open("velero-sample-1");
    await expect(first.backupFiles("b").stat(file)).rejects.toMatchObject({
      code: "blob-not-found",
    });
    await using frozen = await context.locations.open("frozen");
    expect((await frozen.backupFiles("b").stat(file)).size).toBe(1);
    const writing = frozen.backupFiles("c").put(file, []);
    await expect(writing).rejects.toMatchObject({ code: "read-only" });
    const opening = context.locations.open("nowhere");
    await expect(opening).rejects.toMatchObject({ code: "invalid-argument" });
    await second.backupFiles("b").delete(file);
  });
});

describe("claim 40: other providers", () => {
  const check = async (name: string): Promise<void> => {
    await inPhase(name, "Available");
    await using location = await context.locations.open(name);
    const store = location.backupFiles("b");
    await store.put(parseBlobId("b-logs.gz"), [Uint8Array.of(1, 2)]);
    const folders: string[] = [];
    for await (const folder of location.bucket.folders(`${location.prefix}backups/`)) {
      folders.push(folder);
    }
    expect(folders).toEqual(["b"]);
    expect([...(await store.get(parseBlobId("b-logs.gz")))]).toEqual([1, 2]);
  };

  test("Azure, with the account's key", async () => {
    await using azurite = await startAzurite();
    await azurite.createContainer("backups");
    await server.secret("azure", { cloud: `AZURE_STORAGE_ACCOUNT_ACCESS_KEY=${azurite.key}\n` });
    const credential = { name: "azure", key: "cloud" };
    const config = { storageAccount: "varvetest", storageAccountURI: azurite.endpoint };
    await locate("azure", { prefix: "p" }, { provider: "velero.io/azure", config, credential });
    await check("azure");
    await using location = await context.locations.open("azure");
    const url = await location.bucket.readUrl("p/backups/b/b-logs.gz", { seconds: 60 });
    expect([...new Uint8Array(await (await fetch(url)).arrayBuffer())]).toEqual([1, 2]);
    await kube.delete(VELERO.backupStorageLocations, { namespace, name: "azure" });
  });

  test("Google, with the key of a service account", async () => {
    await using gcs = await startFakeGcs();
    await gcs.createBucket("backups");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const account = {
      type: "service_account",
      client_email: "varve@project.iam.gserviceaccount.com",
      private_key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    };
    await server.secret("gcp", { cloud: JSON.stringify(account) });
    const credential = { name: "gcp", key: "cloud" };
    const config = { storeEndpoint: gcs.endpoint };
    await locate("gcp", { prefix: "p" }, { provider: "gcp", config, credential });
    await check("gcp");
    await kube.delete(VELERO.backupStorageLocations, { namespace, name: "gcp" });
  });
});

describe("requests of clients", () => {
  test("a DownloadRequest is answered with a URL that gives the file", async () => {
    await using location = await context.locations.open("second");
    await location.backupFiles("b1").put(parseBlobId("b1-logs.gz"), [Uint8Array.of(7, 8)]);
    await location.restoreFiles("r1").put(parseBlobId("restore-r1-logs.gz"), [Uint8Array.of(9)]);
    await server.create(VELERO.backups, "b1", { spec: { storageLocation: "second" } });
    await server.create(VELERO.restores, "r1", { spec: { backupName: "b1" } });
    const ask = async (kind: string, name: string): Promise<number[]> => {
      const request = name + kind.toLowerCase();
      await server.create(VELERO.downloadRequests, request, { spec: { target: { kind, name } } });
      const url = await eventually("URL", async () => {
        const found = await kube.get(VELERO.downloadRequests, { namespace, name: request });
        return (found as { status?: { downloadURL?: string } }).status?.downloadURL;
      });
      return [...new Uint8Array(await (await fetch(url)).arrayBuffer())];
    };
    expect(await ask("BackupLog", "b1")).toEqual([7, 8]);
    expect(await ask("RestoreLog", "r1")).toEqual([9]);
  });

  test("a ServerStatusRequest is answered", async () => {
    await server.create(VELERO.serverStatusRequests, "status", { spec: {} });
    const status = await eventually("status", async () => {
      const found = await kube.get(VELERO.serverStatusRequests, { namespace, name: "status" });
      const { status } = found as { status?: { phase?: string } };
      return status?.phase === "Processed" ? status : undefined;
    });
    expect(status).toMatchObject({
      serverVersion: "v0.1.0",
      plugins: expect.arrayContaining([{ name: "velero.io/aws", kind: "ObjectStore" }, plugins[0]]),
    });
  });
});

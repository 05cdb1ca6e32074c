import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BlobServiceClient, type BlobItem } from "@azure/storage-blob";
import * as varve from "@varve/core";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AzureStoreOptions, openAzureStore } from "../../src/index.ts";

/**
 * Stock Kopia and varve on the same containers. Kopia asks `https://<account>.<domain>`, a name that nobody knows; a
 * proxy that it finds in its environment leads every such name to Azurite, whose certificate is good for it.
 */

const DOMAIN = "blob.varve.test";
const PASSWORD = "correct horse";
const FILES: Readonly<Record<string, Uint8Array>> = {
  "a.txt": Buffer.from("hello\n".repeat(1000)),
  "sub/b.bin": Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) >>> 5)),
  "sub/empty": new Uint8Array(0),
};

const certificate = makeCertificate(["127.0.0.1", `*.${DOMAIN}`]);
const azurite = await startAzurite({ certificate });
const folder = await mkdtemp(join(tmpdir(), "varve-azure-kopia-"));
const data = join(folder, "data");
const proxy = createServer().on("connect", (_request, client, head) => {
  const server = connect({ port: azurite.port, host: "127.0.0.1" }, () => {
    client.write("HTTP/1.1 200 OK\r\n\r\n");
    server.write(head);
    server.pipe(client).pipe(server);
  });
  server.on("error", () => client.destroy());
  client.on("error", () => server.destroy());
});

beforeAll(async () => {
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  await writeFile(join(folder, "ca.pem"), certificate.certificate);
  await mkdir(join(data, "sub"), { recursive: true });
  for (const [name, bytes] of Object.entries(FILES)) {
    await writeFile(join(data, name), bytes);
  }
});

afterAll(async () => {
  proxy.close();
  await azurite.stop();
  await rm(folder, { recursive: true });
});

/** One client of Kopia, with a configuration of its own. */
function kopiaClient(name: string): (...args: string[]) => Promise<string> {
  const { port } = proxy.address() as AddressInfo; // it listens on TCP
  const env = {
    ...process.env,
    KOPIA_PASSWORD: PASSWORD,
    KOPIA_CHECK_FOR_UPDATES: "false",
    KOPIA_CACHE_DIRECTORY: join(folder, name, "cache"),
    AZURE_STORAGE_KEY: azurite.key,
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
    NO_PROXY: "",
    SSL_CERT_FILE: join(folder, "ca.pem"),
  };
  const files = [
    `--config-file=${join(folder, name, "config")}`,
    `--log-dir=${join(folder, name, "logs")}`,
  ];
  return async (...args) => {
    const binary = process.env["VARVE_TEST_KOPIA"] ?? "";
    const running = promisify(execFile)(binary, [...files, "--no-progress", ...args], { env });
    return (await running).stdout;
  };
}

function azureFlags(container: string, prefix: string): string[] {
  return [
    "azure",
    `--container=${container}`,
    `--storage-account=${azurite.account}`,
    `--storage-domain=${DOMAIN}`,
    `--prefix=${prefix}`,
    "--override-username=user",
    "--override-hostname=host",
  ];
}

async function openStore(options: Partial<AzureStoreOptions>): Promise<varve.BlobStore> {
  const store = await openAzureStore({
    container: "unnamed",
    endpoint: azurite.endpoint,
    certificateAuthority: certificate.certificate,
    credentials: { kind: "account-key", accountKey: azurite.key },
    ...options,
  });
  return varve.retryStore(store, { environment: varve.systemEnvironment() });
}

async function filesBelow(root: string): Promise<Record<string, Uint8Array>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found: Record<string, Uint8Array> = {};
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    found[path.slice(root.length + 1)] = await readFile(path);
  }
  return found;
}

async function backUp(store: varve.BlobStore): Promise<varve.UploadReport> {
  await using repository = await varve.openRepository(store, { password: PASSWORD, workers: 0 });
  return await varve.createSnapshot(repository, {
    path: data,
    source: { host: "host", userName: "user", path: data },
  });
}

/** What a container holds, as the service tells it. */
async function listing(container: string): Promise<BlobItem[]> {
  const tls: object = { tlsOptions: { ca: certificate.certificate } };
  const service = BlobServiceClient.fromConnectionString(azurite.connectionString, tls);
  const items: BlobItem[] = [];
  for await (const item of service.getContainerClient(container).listBlobsFlat({
    includeMetadata: true,
  })) {
    items.push(item);
  }
  return items;
}

test("Kopia connects to what varve wrote, verifies all of it and restores it", async () => {
  await azurite.createContainer("from-varve");
  await using store = await openStore({ container: "from-varve", prefix: "a/b-" });
  await varve.createRepository(store, { password: PASSWORD });
  const { snapshot } = await backUp(store);

  const kopia = kopiaClient("reader");
  await kopia("repository", "connect", ...azureFlags("from-varve", "a/b-"));
  await kopia("snapshot", "verify", "--verify-files-percent=100");
  const target = join(folder, "restored-by-kopia");
  await kopia("snapshot", "restore", snapshot.root.object, target);
  expect(await filesBelow(target)).toEqual(await filesBelow(data));
  // And it goes on where varve stopped.
  await kopia("snapshot", "create", data);
  expect((await backUp(store)).snapshot.root.object).toBe(snapshot.root.object);
});

test("varve opens what Kopia wrote, verifies all of it and restores it", async () => {
  await azurite.createContainer("from-kopia");
  const kopia = kopiaClient("writer");
  await kopia("repository", "create", ...azureFlags("from-kopia", "pre/"));
  await kopia("snapshot", "create", data);

  await using store = await openStore({ container: "from-kopia", prefix: "pre/" });
  await using repository = await varve.openRepository(store, { password: PASSWORD, workers: 0 });
  expect((await varve.verify(repository, { readFraction: 1 })).damaged).toEqual([]);
  const [snapshot] = (await varve.listSnapshots(repository)).snapshots;
  const target = join(folder, "restored-by-varve");
  if (snapshot === undefined) {
    throw new Error("no snapshot");
  }
  await varve.restore(repository, { root: snapshot.root, target: varve.localTarget(target) });
  expect(await filesBelow(target)).toEqual(await filesBelow(data));
});

test("blobs of both have the same kind, type, metadata and names", async () => {
  await azurite.createContainer("of-varve");
  await azurite.createContainer("of-kopia");
  await using store = await openStore({ container: "of-varve", prefix: "x/" });
  await varve.createRepository(store, { password: PASSWORD });
  await backUp(store);
  const kopia = kopiaClient("lister");
  await kopia("repository", "create", ...azureFlags("of-kopia", "x/"));
  await kopia("snapshot", "create", data);
  // With times that were set: what each copies from a store that knows them.
  const copies = join(folder, "copies");
  await mkdir(copies);
  await kopia("repository", "sync-to", "filesystem", `--path=${copies}`);
  await using files = await varve.openFileSystemStore(copies);
  await azurite.createContainer("copy-of-varve");
  await azurite.createContainer("copy-of-kopia");
  await using copy = await openStore({ container: "copy-of-varve", prefix: "x/" });
  for await (const { id, mtimeMs } of files.list("")) {
    await copy.put(id, [await files.get(id)], { mtimeMs });
  }
  await kopia("repository", "disconnect");
  await kopia("repository", "connect", "filesystem", `--path=${copies}`);
  const flags = azureFlags("copy-of-kopia", "x/").filter((flag) => !flag.includes("override"));
  await kopia("repository", "sync-to", ...flags, "--times");

  const properties = ({ properties: seen, metadata }: BlobItem): unknown => [
    seen.blobType,
    seen.contentType,
    seen.contentEncoding,
    seen.cacheControl,
    seen.accessTier,
    seen.contentMD5?.length,
    Object.keys(metadata ?? {}).map((name) => name.toLowerCase()),
  ];
  const kinds = async (container: string): Promise<unknown[]> => [
    ...new Set((await listing(container)).map((item) => JSON.stringify(properties(item)))),
  ];
  expect(await kinds("of-varve")).toEqual(await kinds("of-kopia"));

  // Names say the same: one letter, the hash, the session and the epoch; blobs that only Kopia writes aside.
  const shapes = async (container: string): Promise<string[]> =>
    [
      ...new Set(
        (await listing(container))
          .map(({ name }) => name.replace(/[0-9a-f]{16,}/g, "#"))
          .filter((name) => !/\/_log_|maintenance/.test(name)),
      ),
    ].sort();
  // And varve's copy of the format blob, which Kopia leaves alone (`repository repair` in docs/cli.md).
  const both = [...(await shapes("of-kopia")), "x/varve.repository"].sort();
  expect(await shapes("of-varve")).toEqual(both);

  const [ours, theirs] = [await listing("copy-of-varve"), await listing("copy-of-kopia")];
  const told = ({ name, properties: seen, metadata }: BlobItem): unknown[] => [
    name,
    seen.contentLength,
    Object.entries(metadata ?? {}).map(([key, ns]) => [key.toLowerCase(), ns.slice(0, -6)]),
  ];
  // Kopia sets no time for the format blob, which it writes last and by itself.
  const copied = (items: BlobItem[]): unknown[][] =>
    items.map(told).filter(([name]) => name !== "x/kopia.repository");
  expect(copied(theirs)).toEqual(copied(ours));
  expect(ours.length).toBeGreaterThan(4);
});

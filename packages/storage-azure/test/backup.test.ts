import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as varve from "@varve/core";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AzureStoreOptions, openAzureStore } from "../src/index.ts";
import { startVersionedAzurite } from "./versioned-azurite.ts";

/** Whole backups in a container: made, made again, verified and restored. */

const azurite = await startAzurite();
const folder = await mkdtemp(join(tmpdir(), "varve-azure-"));
const data = join(folder, "data");
afterAll(async () => {
  await azurite.stop();
  await rm(folder, { recursive: true });
});

const PASSWORD = "correct horse";
const { key: accountKey } = azurite;
const credentials = { kind: "account-key", accountKey } as const;
const FILES: Readonly<Record<string, Uint8Array>> = {
  "a.txt": Buffer.from("a".repeat(50_000)),
  "big.bin": pseudoRandom(3_000_000),
  empty: new Uint8Array(0),
  "sub/deep/b.txt": Buffer.from("b"),
};

/** Bytes that do not compress and are the same every time. */
function pseudoRandom(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = 1;
  for (let index = 0; index < size; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

beforeAll(async () => {
  await mkdir(join(data, "sub/deep"), { recursive: true });
  for (const [name, bytes] of Object.entries(FILES)) {
    await writeFile(join(data, name), bytes);
  }
});

/** As programs open it: connections that lay idle too long fail once. */
async function open(options: AzureStoreOptions): Promise<varve.BlobStore> {
  const environment = varve.systemEnvironment();
  return varve.retryStore(await openAzureStore(options), { environment });
}

async function backUp(store: varve.BlobStore): Promise<varve.UploadReport> {
  await using repository = await varve.openRepository(store, { password: PASSWORD, workers: 0 });
  return await varve.createSnapshot(repository, { path: data });
}

/** Verifies everything, restores the newest snapshot, and gives what came out. */
async function verifyAndRestore(store: varve.BlobStore): Promise<Record<string, Uint8Array>> {
  await using repository = await varve.openRepository(store, { password: PASSWORD, workers: 0 });
  const { damaged } = await varve.verify(repository, { readFraction: 1 });
  expect(damaged).toEqual([]);
  const newest = (await varve.listSnapshots(repository)).snapshots.at(-1);
  const target = await mkdtemp(join(folder, "restored-"));
  if (newest === undefined) {
    throw new Error("no snapshot");
  }
  const { failures } = await varve.restore(repository, {
    root: newest.root,
    target: varve.localTarget(target),
  });
  expect(failures).toEqual([]);
  const names = (await readdir(target, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const found: Record<string, Uint8Array> = {};
  for (const name of names) {
    found[name.slice(target.length + 1)] = new Uint8Array(await readFile(name));
  }
  return found;
}

function expected(): Record<string, Uint8Array> {
  return Object.fromEntries(
    Object.entries(FILES).map(([name, bytes]) => [name, new Uint8Array(bytes)]),
  );
}

test("a backup, an unchanged backup, a check and a restore", async () => {
  await azurite.createContainer("backups");
  const { endpoint } = azurite;
  const options = { container: "backups", prefix: "host/", endpoint, credentials };
  await using store = await open(options);
  await varve.createRepository(store, { password: PASSWORD });
  const first = await backUp(store);
  const second = await backUp(store);
  expect(first.errors).toEqual([]);
  expect(second.snapshot.root.object).toBe(first.snapshot.root.object);
  expect(await verifyAndRestore(store)).toEqual(expected());
});

test("a backup through a network that loses and damages requests", async () => {
  await azurite.createContainer("lossy");
  const proxy = await startFaultProxy({
    target: new URL(azurite.endpoint).origin,
    vendor: "azure",
    seed: 7,
  });
  await using _stop = proxy;
  const endpoint = proxy.endpoint + new URL(azurite.endpoint).pathname;
  const plain = await openAzureStore({
    container: "lossy",
    endpoint,
    credentials,
    idleTimeoutMs: 500,
  });
  const environment = { ...varve.systemEnvironment(), sleep: async () => {} };
  await using store = varve.retryStore(plain, { environment, attempts: 20 });
  proxy.setFaults({
    rates: {
      "error-500": 0.05,
      "error-503": 0.05,
      "error-429": 0.05,
      hang: 0.02,
      "reset-request": 0.05,
      "reset-response": 0.05,
      "truncate-response": 0.05,
      "corrupt-request": 0.05,
      drip: 0.05,
    },
  });
  await varve.createRepository(store, { password: PASSWORD });
  for (let round = 0; round < 5; round++) {
    expect((await backUp(store)).errors).toEqual([]);
  }
  proxy.setFaults({});
  expect(proxy.counts.faults.size).toBeGreaterThan(5);
  expect(await verifyAndRestore(store)).toEqual(expected());
});

test("a point in time restores what was deleted since", async () => {
  await azurite.createContainer("versions");
  await using service = await startVersionedAzurite(azurite.endpoint, "versions");
  const options = { container: "versions", endpoint: service.endpoint, credentials };
  await using store = await open(options);
  await varve.createRepository(store, { password: PASSWORD });
  await backUp(store);
  const pointInTimeMs = service.nowMs;
  for await (const { id } of store.list("")) {
    await store.delete(id);
  }
  await using past = await open({ ...options, pointInTimeMs });
  expect(await verifyAndRestore(past)).toEqual(expected());
  await expect(verifyAndRestore(store)).rejects.toMatchObject({ code: "not-a-repository" });
});

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as varve from "@varve/core";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Kopia } from "../../../core/test/interop/kopia.ts";
import { inventory, makeTree } from "../../../core/test/trees/make-tree.ts";
import { openGcsStore } from "../../src/index.ts";

/** Stock Kopia and varve on the same buckets of fake-gcs-server, in both directions; run with VARVE_TEST_KOPIA set. */

const FIRST_BUILD_MS = 600_000;
const password = "matrix password";
const identity = { username: "tester", hostname: "bench" };
// What Kopia cannot bring back; see docs/format.md §6.4 and §13.
const asKopiaRestores = { directoryTimes: false, linkTimes: false, rawNames: false };
const folder = mkdtempSync(join(tmpdir(), "varve-gcs-interop-"));
const data = join(folder, "data");
const overrides = [
  `--override-username=${identity.username}`,
  `--override-hostname=${identity.hostname}`,
];
let server: FakeGcs;
const alone: { varve?: string[]; kopia?: string[] } = {};

beforeAll(async () => {
  mkdirSync(data);
  makeTree(data, { seed: "gcs interop" });
  // The record of a folder with such a name has a member that Kopia does not write (docs/format.md §13).
  rmSync(Buffer.from(`${data}/odd names/b\xff\xfed`, "latin1"));
  server = await startFakeGcs();
  // Google's Go library asks this host, and needs no credentials for it.
  vi.stubEnv("STORAGE_EMULATOR_HOST", new URL(server.endpoint).host);
}, FIRST_BUILD_MS);

afterAll(async () => {
  vi.unstubAllEnvs();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const open = (bucket: string, prefix: string): Promise<varve.BlobStore> =>
  openGcsStore({ bucket, prefix, endpoint: server.endpoint, credentials: { kind: "anonymous" } });

interface ObjectFacts {
  readonly name: string;
  readonly size: string;
  readonly contentType: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Every object of the bucket, as the server tells it. */
async function objects(bucket: string): Promise<ObjectFacts[]> {
  const answer = await fetch(`${server.endpoint}/storage/v1/b/${bucket}/o`);
  const { items } = (await answer.json()) as { items: ObjectFacts[] };
  return items;
}

/** What is not chance in the objects of a bucket: kinds of names, types and metadata. */
async function layout(bucket: string): Promise<string[]> {
  const lines = (await objects(bucket)).map(({ name, contentType, metadata }) => {
    const shape = name.replace(/[0-9a-f]{16,}/g, "<hash>").replace(/_log_.*/, "_log_");
    return `${shape} ${contentType} ${JSON.stringify(metadata ?? {})}`;
  });
  return [...new Set(lines)].sort();
}

function kopiaRestores(kopia: Kopia, name: string): void {
  const list = JSON.parse(kopia.run("snapshot", "list", "--all", "--json")) as { id: string }[];
  const id = list.at(-1)?.id ?? "";
  kopia.run("snapshot", "verify", "--verify-files-percent=100");
  kopia.run("content", "verify", "--full");
  kopia.run("restore", id, join(folder, name));
  expect(inventory(join(folder, name), asKopiaRestores)).toEqual(inventory(data, asKopiaRestores));
}

test("what varve writes into a bucket, stock Kopia connects to, verifies and restores", async () => {
  await server.createBucket("by-varve");
  {
    await using store = await open("by-varve", "some/folder-");
    await varve.createRepository(store, { password, client: identity });
    await using repository = await varve.openRepository(store, { password, client: identity });
    const { errors } = await varve.createSnapshot(repository, { path: data });
    expect(errors).toEqual([]);
  }
  alone.varve = await layout("by-varve");
  using kopia = new Kopia({ password });
  kopia.run(
    "repository",
    "connect",
    "gcs",
    "--bucket=by-varve",
    "--prefix=some/folder-",
    ...overrides,
  );
  kopiaRestores(kopia, "restored by kopia");
  kopia.run("snapshot", "create", data);
  kopia.run("maintenance", "run", "--full");

  await using store = await open("by-varve", "some/folder-");
  await using repository = await varve.openRepository(store, { password, client: identity });
  const { damagedCount, snapshots } = await varve.verify(repository, { readFraction: 1 });
  expect({ damagedCount, snapshots }).toEqual({ damagedCount: 0, snapshots: 2 });
});

test("what stock Kopia writes into a bucket, varve opens, verifies and restores", async () => {
  await server.createBucket("by-kopia");
  using kopia = new Kopia({ password });
  kopia.run(
    "repository",
    "create",
    "gcs",
    "--bucket=by-kopia",
    "--prefix=some/folder-",
    ...overrides,
  );
  kopia.run("snapshot", "create", data);
  alone.kopia = await layout("by-kopia");

  await using store = await open("by-kopia", "some/folder-");
  await using repository = await varve.openRepository(store, { password, client: identity });
  const { damagedCount } = await varve.verify(repository, { readFraction: 1 });
  expect(damagedCount).toBe(0);
  const newest = (await varve.listSnapshots(repository)).snapshots.at(-1);
  if (newest === undefined) {
    throw new Error("no snapshot");
  }
  const to = join(folder, "restored by varve");
  await varve.restore(repository, { root: newest.root, target: varve.localTarget(to) });
  expect(inventory(to)).toEqual(inventory(data));

  await varve.createSnapshot(repository, { path: data });
  kopiaRestores(kopia, "restored by kopia, written by both");
});

test("names, types and metadata are laid out alike", () => {
  expect(alone.varve?.length).toBeGreaterThan(4);
  // Kopia has also done maintenance, and keeps logs of its work; varve keeps a copy of the format blob.
  const ofBackups = alone.kopia?.filter((line) => !/_log_|kopia\.maintenance/.test(line)) ?? [];
  const copy = "some/folder-varve.repository application/x-kopia {}";
  expect(alone.varve).toEqual([...ofBackups, copy].sort());
});

test("a blob's time is the same to both, whoever set it", async () => {
  await server.createBucket("copies");
  using kopia = new Kopia({ password });
  kopia.run(
    "repository",
    "connect",
    "gcs",
    "--bucket=by-kopia",
    "--prefix=some/folder-",
    ...overrides,
  );
  kopia.run("repository", "sync-to", "gcs", "--bucket=copies", "--prefix=kopia/", "--times");
  {
    await using from = await open("by-kopia", "some/folder-");
    await using to = await open("copies", "varve/");
    for await (const { id, mtimeMs } of from.list("")) {
      await to.put(id, [await from.get(id)], { mtimeMs });
    }
  }
  const times = async (prefix: string): Promise<Map<string, number>> => {
    await using store = await open("copies", prefix);
    const found = new Map<string, number>();
    for await (const { id, mtimeMs } of store.list("")) {
      // Kopia copies this one by another way, without its time.
      if (id !== "kopia.repository") {
        found.set(id, mtimeMs);
      }
    }
    return found;
  };
  expect(await times("varve/")).toEqual(await times("kopia/"));
  const metadata = (await objects("copies")).map((object) => Object.keys(object.metadata ?? {}));
  expect(new Set(metadata.flat())).toEqual(new Set(["Kopia-Mtime"]));

  using copy = new Kopia({ password });
  copy.run("repository", "connect", "gcs", "--bucket=copies", "--prefix=varve/", ...overrides);
  const blobs = JSON.parse(copy.run("blob", "list", "--json")) as {
    id: string;
    timestamp: string;
  }[];
  const seen = new Map(blobs.map(({ id, timestamp }) => [id, Date.parse(timestamp)]));
  for (const [id, mtimeMs] of await times("varve/")) {
    expect([id, seen.get(id)]).toEqual([id, mtimeMs]);
  }
});

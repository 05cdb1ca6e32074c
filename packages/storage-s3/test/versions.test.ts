import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createRepository,
  createSnapshot,
  defaultMaintenance,
  deleteSnapshot,
  listSnapshots,
  localTarget,
  maintain,
  openRepository,
  parseManifestId,
  restore,
  setMaintenance,
  setParameters,
  verify,
} from "@varve/core";
import { type BlobStore, parseBlobId, systemEnvironment } from "@varve/core/blob";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { startVersitygw } from "@varve/testenv/s3-servers.ts";
import { correctVersionTimes } from "@varve/testenv/version-times.ts";
import { afterAll, describe, expect, test } from "vitest";
import { openS3Store } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";
import { filesOf, writeFiles } from "./files.ts";

/** Versions and object lock, on the one server here that has them. */

const servers = canRunGoServers("versions and object lock of S3") ? [await startVersitygw()] : [];
const withTimes = await Promise.all(servers.map(({ endpoint }) => correctVersionTimes(endpoint)));
afterAll(async () => {
  await Promise.all(withTimes.map((each) => each[Symbol.asyncDispose]()));
  await Promise.all(servers.map((server) => server.stop()));
});
const [A, B] = [parseBlobId("a"), parseBlobId("ab")];
const DAY_MS = 86_400_000;
const password = "locked away";

describe.each(servers)("$name", (server) => {
  const open = (bucket: string, pointInTimeMs?: number): Promise<BlobStore> =>
    openS3Store({
      ...serverOptions(server, bucket),
      endpoint: withTimes[servers.indexOf(server)]?.endpoint,
      pointInTimeMs,
    });

  test("a point in time shows what was there then, and nothing that came later", async () => {
    await server.createBucket("versioned", { versioning: true });
    await using store = await open("versioned");
    await store.put(A, [Uint8Array.of(1)]);
    await store.put(B, [Uint8Array.of(2, 2)]);
    const thenMs = await nextSecond(store);
    await store.put(A, [Uint8Array.of(3, 3, 3)]);
    await store.delete(B);
    await store.put(parseBlobId("later"), []);

    await using past = await open("versioned", thenMs);
    expect(await listed(past, "")).toEqual(["a 1", "ab 2"]);
    expect(await listed(past, "ab")).toEqual(["ab 2"]);
    expect(await past.get(A)).toEqual(Uint8Array.of(1));
    expect(await past.get(B, { range: { offset: 1, length: 1 } })).toEqual(Uint8Array.of(2));
    expect(await past.stat(A)).toMatchObject({ size: 1 });
    await expect(past.get(parseBlobId("later"))).rejects.toMatchObject({ code: "blob-not-found" });
    await expect(past.put(A, [])).rejects.toMatchObject({ code: "read-only" });
    await expect(past.delete(A)).rejects.toMatchObject({ code: "read-only" });
    expect(await listed(store, "")).toEqual(["a 3", "later 0"]);

    await using before = await open("versioned", thenMs - DAY_MS);
    expect(await listed(before, "")).toEqual([]);
    await expect(before.stat(A)).rejects.toMatchObject({ code: "blob-not-found" });
  });

  test("a bucket without versions has no past", async () => {
    await server.createBucket("forgetful");
    await expect(open("forgetful", Date.now())).rejects.toMatchObject({ code: "unsupported" });
  });

  test("retention is told by the bucket, kept by the storage and never shortened", async () => {
    await server.createBucket("locked", { objectLock: true });
    await using store = await open("locked");
    expect(store.features.has("object-lock")).toBe(true);
    await using late = await openS3Store({
      ...serverOptions(server, "locked"),
      objectLock: "when-needed",
    });
    const soon = { mode: "governance", untilMs: Date.now() + 1000 } as const;
    await late.put(B, [], { retention: soon });
    expect((await server.retentionOf("locked", B)).mode).toBe("GOVERNANCE");
    const untilMs = Math.floor(Date.now() / 1000) * 1000 + DAY_MS;
    await store.put(A, [Uint8Array.of(1)], { retention: { mode: "compliance", untilMs } });
    await store.extendRetention(A, { mode: "governance", untilMs: untilMs + DAY_MS });
    await store.extendRetention(A, { mode: "governance", untilMs: untilMs - DAY_MS });
    expect(await server.retentionOf("locked", "a")).toEqual({
      mode: "COMPLIANCE",
      untilMs: untilMs + DAY_MS,
    });
    await store.put(B, [Uint8Array.of(1)]);
    await store.extendRetention(B, { mode: "governance", untilMs });
    expect(await server.retentionOf("locked", "ab")).toEqual({ mode: "GOVERNANCE", untilMs });
  });

  test("with default retention a whole backup needs no delete, and survives a thief's", async () => {
    await server.createBucket("vault", { objectLock: { mode: "GOVERNANCE", days: 1 } });
    using place = temporary();
    const files = writeFiles(join(place.folder, "data"), { seed: 1 });
    const report = await backUp(join(place.folder, "data"));
    expect(report.damaged).toEqual([]);
    await using owner = await open("vault");
    const thenMs = await nextSecond(owner);

    // Whoever has the key of the backup may put and delete, but not bypass retention.
    const actions = ["s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"];
    const thief = await server.createUser("vault", actions);
    await using stolen = await openS3Store(serverOptions({ ...server, ...thief }, "vault"));
    for await (const { id } of stolen.list("")) {
      await stolen.delete(id);
    }
    expect(await listed(owner, "")).toEqual([]);

    await using past = await open("vault", thenMs);
    await using repository = await openRepository(past, { password, readOnly: true, workers: 0 });
    const { snapshots } = await listSnapshots(repository);
    const target = join(place.folder, "restored");
    for (const { root } of snapshots) {
      await restore(repository, { root, target: localTarget(target) });
    }
    expect(snapshots.length).toBe(1);
    expect(filesOf(target)).toEqual(files);
  });

  test("with default retention maintenance extends locks, and what it deletes stays in the past", async () => {
    await server.createBucket("kept", { objectLock: { mode: "GOVERNANCE", days: 1 } });
    using place = temporary();
    const data = join(place.folder, "data");
    const files = writeFiles(data, { seed: 2 });
    const client = { username: "me", hostname: "here" };
    await using owner = await open("kept");
    const retention = { mode: "governance", periodMs: DAY_MS } as const;
    await createRepository(owner, { password, retention, client });
    const daysLocked = async (): Promise<Set<number>> => {
      const days = new Set<number>();
      for await (const { id } of owner.list("p")) {
        const { untilMs } = await server.retentionOf("kept", id);
        days.add(Math.round((untilMs - Date.now()) / DAY_MS));
      }
      return days;
    };
    let snapshotId = "";
    {
      await using repository = await openRepository(owner, { password, client, workers: 0 });
      ({ id: snapshotId = "" } = (await createSnapshot(repository, { path: data })).snapshot);
      const parameters = { ...defaultMaintenance("me@here"), extendObjectLocks: true };
      await setMaintenance(repository, parameters);
      await repository.flush();
    }
    expect(await daysLocked()).toEqual(new Set([1]));
    const changes = { retention: { ...retention, periodMs: 30 * DAY_MS } };
    await setParameters(owner, { password, environment: systemEnvironment(), changes });
    const thenMs = await nextSecond(owner);

    await using store = await open("kept");
    await using repository = await openRepository(store, { password, client, workers: 0 });
    await maintain(repository, { mode: "full", safety: "none" });
    expect(await daysLocked()).toEqual(new Set([30]));
    await deleteSnapshot(repository, parseManifestId(snapshotId));
    await repository.flush();
    await maintain(repository, { mode: "full", safety: "none" });
    await maintain(repository, { mode: "full", safety: "none" });
    expect(await listed(owner, "p")).toEqual([]);
    expect((await verify(repository, { readFraction: 1 })).damaged).toEqual([]);

    await using past = await open("kept", thenMs);
    await using before = await openRepository(past, { password, readOnly: true, workers: 0 });
    const [snapshot] = (await listSnapshots(before)).snapshots;
    const target = join(place.folder, "restored");
    expect(snapshot?.id).toBe(snapshotId);
    if (snapshot !== undefined) {
      await restore(before, { root: snapshot.root, target: localTarget(target) });
    }
    expect(filesOf(target)).toEqual(files);
  });

  test("where there are no versions locks refuse deletions, and maintenance goes on without them", async () => {
    await using plain = await startVersitygw({ versions: false });
    await plain.createBucket("unversioned", { objectLock: true });
    using place = temporary();
    const data = join(place.folder, "data");
    writeFiles(data, { seed: 3 });
    await using store = await openS3Store(serverOptions(plain, "unversioned"));
    const retention = { mode: "governance", periodMs: DAY_MS } as const;
    const client = { username: "me", hostname: "here" };
    await createRepository(store, { password, retention, client });
    await using repository = await openRepository(store, { password, client, workers: 0 });
    const { snapshot } = await createSnapshot(repository, { path: data });
    await deleteSnapshot(repository, parseManifestId(snapshot.id ?? ""));
    await repository.flush();
    const packs = await listed(store, "p");
    await maintain(repository, { mode: "full", safety: "none" });
    const { locked, tasks } = await maintain(repository, { mode: "full", safety: "none" });
    expect(await listed(store, "p")).toEqual(packs);
    expect({ locked, tasks }).toMatchObject({ locked: { blobs: expect.any(Number) as number } });
    expect(locked?.blobs).toBeGreaterThanOrEqual(packs.length);
    expect(tasks.at(-1)).toMatchObject({ task: "cleanup-logs", counts: { blobs: 0 } });
    expect((await verify(repository, { readFraction: 1 })).damaged).toEqual([]);
  });

  async function backUp(path: string): Promise<{ readonly damaged: readonly unknown[] }> {
    const store = await openS3Store(serverOptions(server, "vault"));
    const withoutDeletes: BlobStore = withDeletesRefused(store);
    await createRepository(withoutDeletes, {
      password,
      retention: { mode: "governance", periodMs: DAY_MS },
    });
    await using repository = await openRepository(withoutDeletes, { password, workers: 0 });
    await createSnapshot(repository, { path });
    await repository.flush();
    return await verify(repository, { readFraction: 1 });
  }
});

/** A store on which every delete fails, as on one that is locked. */
function withDeletesRefused(store: BlobStore): BlobStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "delete") {
        return () => Promise.reject(new Error("a delete was needed"));
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

/** A time of the storage's clock after everything so far and before everything to come: it tells whole seconds. */
async function nextSecond(store: BlobStore): Promise<number> {
  const probe = parseBlobId("probe");
  const { mtimeMs: nowMs } = await store.put(probe, [], { exactTime: true });
  for (let laterMs = nowMs; laterMs < nowMs + 2000; ) {
    ({ mtimeMs: laterMs } = await store.put(probe, [], { exactTime: true }));
  }
  return nowMs + 1000;
}

async function listed(store: BlobStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { id, size } of store.list(prefix)) {
    found.push(`${id} ${size}`);
  }
  return found.filter((text) => !text.startsWith("probe")).sort();
}

function temporary(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "varve-s3-"));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

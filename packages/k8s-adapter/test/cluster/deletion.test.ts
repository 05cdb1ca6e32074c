import { readdirSync, readFileSync, statSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { listSnapshots, maintain } from "@varve/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { deletionControllers } from "../../src/deletion/expiry-controller.ts";
import { locationControllers } from "../../src/location/sync-controller.ts";
import { type Backup, type DeleteBackupRequest, VELERO } from "../../src/velero/resources.ts";
import { backUpVolume } from "../../src/volume/copy-volume.ts";
import { openVolumeRepository } from "../../src/volume/volume-repository.ts";
import { unpackVeleroBackups, type VeleroBackups } from "../velero-backups.ts";
import { eventually, type LocationServer, startLocationServer } from "./location-server.ts";

/** The life and the end of backups that real Velero made, in a location that is a directory. */

/** A few of them, for the sake of time. */
const KEPT = new Set(["fsb-all", "fsb-all-2", "ns-shop", "glob-ns", "glob-none", "ordered"]);
const settings = { storeValidationMs: 500, backupSyncMs: 500 };
let golden: VeleroBackups;
let server: LocationServer;
let bucket: string;

beforeEach(async () => {
  golden = await unpackVeleroBackups();
  bucket = join(golden.folder, "bucket");
  for (const name of readdirSync(join(bucket, "backups"))) {
    if (!KEPT.has(name)) {
      await rm(join(bucket, "backups", name), { recursive: true });
    }
  }
  server = await startLocationServer([...locationControllers(), ...deletionControllers()], {
    settings,
  });
  await server.secret("velero-repo-credentials", { "repository-password": "static-passw0rd" });
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await golden[Symbol.asyncDispose]();
});

const locate = (more: object = {}): Promise<unknown> =>
  server.create(VELERO.backupStorageLocations, "default", {
    spec: {
      provider: "velero.io/fs",
      config: { fspath: bucket },
      objectStorage: { bucket: "golden" },
      ...more,
    },
  });
/** Those that have a file: directories stay when they are empty. */
const backupNames = (): string[] =>
  readdirSync(join(bucket, "backups"))
    .filter((name) => readdirSync(join(bucket, "backups", name)).length > 0)
    .toSorted();
const synced = (): Promise<true> =>
  eventually("all backups", async () =>
    (await server.names(VELERO.backups)).length === backupNames().length ? true : undefined,
  );
const backup = async (name: string): Promise<Backup | undefined> =>
  (await server.find(VELERO.backups, name)) as Backup | undefined;

/** Every file with its size and time. */
function listing(folder = bucket): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path.slice(bucket.length)} ${statSync(path).size} ${statSync(path).mtimeMs}`)
    .toSorted();
}

const volumesOf = async (name: string): Promise<Record<string, unknown>[]> => {
  const labelSelector = `velero.io/backup-name=${name}`;
  const { namespace } = server;
  return (await server.kube.listAll(VELERO.podVolumeBackups, { namespace, labelSelector })).items
    .map((item) => ({ name: item.metadata.name, ...item }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
};

describe("sync", () => {
  test("claim 37: what real Velero stored is taken over, and comes back when only resources are deleted", async () => {
    await locate();
    await synced();
    const taken = await backup("fsb-all-2");
    const [stored] = [
      JSON.parse(
        readFileSync(join(bucket, "backups/fsb-all-2/velero-backup.json"), "utf8"),
      ) as Backup,
    ];
    expect(taken?.status).toEqual(stored?.status);
    expect(taken?.spec).toMatchObject({ includedNamespaces: stored?.spec.includedNamespaces });
    expect(taken?.metadata.labels).toEqual({ "velero.io/storage-location": "default" });
    const before = await eventually("volumes", async () => {
      const volumes = await volumesOf("fsb-all-2");
      const theirs = parse(readFileSync(join(golden.folder, "sync/pvbs-after.yaml"), "utf8")) as {
        items: { metadata: { name: string; labels: Record<string, string> } }[];
      };
      const count = theirs.items.filter(
        ({ metadata }) => metadata.labels["velero.io/backup-name"] === "fsb-all-2",
      ).length;
      return volumes.length === count && count > 0 ? volumes : undefined;
    });
    expect(before[0]).toMatchObject({
      metadata: {
        labels: { "velero.io/backup-uid": taken?.metadata.uid },
        ownerReferences: [{ kind: "Backup", uid: taken?.metadata.uid }],
      },
      status: { phase: "Completed" },
    });

    const files = listing();
    const { kube, namespace } = server;
    await kube.delete(VELERO.backups, { namespace, name: "fsb-all-2" });
    const back = await eventually("the backup again", async () => {
      const found = await backup("fsb-all-2");
      return found === undefined || found.metadata.uid === taken?.metadata.uid ? undefined : found;
    });
    expect(listing()).toEqual(files);
    expect(back.status).toEqual(taken?.status);
    await eventually("its volumes again", async () => {
      const volumes = await volumesOf("fsb-all-2");
      return volumes.length === before.length ? true : undefined;
    });

    // A way to switch it off.
    const where = { namespace, name: "default" };
    await kube.mergePatch(VELERO.backupStorageLocations, where, {
      spec: { backupSyncPeriod: "0s" },
    });
    await server.context.environment.sleep(700); // what is under way ends
    await kube.delete(VELERO.backups, { namespace, name: "ns-shop" });
    await server.context.environment.sleep(1500);
    expect(await backup("ns-shop")).toBeUndefined();
  });

  test("resources go when their files are gone, and stay when only the way there is", async () => {
    await locate();
    await synced();
    await rm(join(bucket, "backups/ns-shop"), { recursive: true });
    await eventually("no ns-shop", async () =>
      (await backup("ns-shop")) === undefined ? true : undefined,
    );
    const all = await server.names(VELERO.backups);
    await rename(bucket, `${bucket}-away`);
    await server.context.environment.sleep(2000);
    expect(await server.names(VELERO.backups)).toEqual(all);
    await rename(`${bucket}-away`, bucket);
  });
});

describe("sync of what others left", () => {
  test("takes over what is final and makes sense, and leaves the rest alone", async () => {
    const put = async (folder: string, content: object | string): Promise<void> => {
      await mkdir(join(bucket, "backups", folder));
      const text = typeof content === "string" ? content : JSON.stringify(content);
      await writeFile(join(bucket, "backups", folder, "velero-backup.json"), text);
    };
    const stored = (name: string, status: object): object => ({
      apiVersion: "velero.io/v1",
      kind: "Backup",
      metadata: { name, ownerReferences: [{ kind: "Schedule", name: "x", uid: "y" }] },
      status,
    });
    await put("zz-running", stored("zz-running", { phase: "InProgress" }));
    await put("zz-queued", stored("zz-queued", { phase: "Queued" }));
    const later = { phase: "Finalizing", expiration: "2099-01-01T00:00:00Z" };
    await put("zz-finalizing", stored("zz-finalizing", later));
    await put("zz-renamed", stored("another", { phase: "Completed" }));
    await put("zz-broken", "{");
    await put("zz-typed", stored("zz-typed", { phase: "Completed", errors: "many" }));
    await put("Not_A_Name", stored("Not_A_Name", { phase: "Completed" }));
    await put("zzz-least", stored("zzz-least", { phase: "Failed" }));
    await locate();
    const least = await eventually("the last of them", () => backup("zzz-least"));
    expect(least.metadata.ownerReferences).toBeUndefined();
    await server.context.environment.sleep(1200);
    expect(await server.names(VELERO.backups)).toEqual([...KEPT, "zzz-least"].toSorted());
  });
});

const EXTRA_BYTES = 2 ** 20;
const request = (backupName: string): Promise<unknown> =>
  server.create(VELERO.deleteBackupRequests, `delete-${backupName}`, { spec: { backupName } });
const answer = async (name: string): Promise<DeleteBackupRequest["status"]> =>
  await eventually("an answer", async () => {
    const found = await server.find(VELERO.deleteBackupRequests, name);
    const { status } = (found ?? {}) as Partial<DeleteBackupRequest>;
    return status?.phase === "Processed" ? status : undefined;
  });

async function snapshots(volumeNamespace: string): Promise<string[]> {
  await using location = await server.context.locations.open("default");
  await using repository = await openVolumeRepository(server.context, {
    location,
    volumeNamespace,
  });
  const { snapshots: found } = await listSnapshots(repository);
  return found.map(({ id }) => id).toSorted();
}

async function maintained(volumeNamespace: string): Promise<void> {
  await using location = await server.context.locations.open("default");
  await using repository = await openVolumeRepository(server.context, {
    location,
    volumeNamespace,
  });
  await maintain(repository, { mode: "full", safety: "none" });
}

/** A volume of one file that nothing else has, as a copy of this backup. */
async function addCopy(backupName: string, bytes: number): Promise<string> {
  const path = join(golden.folder, "extra");
  await mkdir(path);
  await writeFile(join(path, "file"), randomBytes(bytes));
  await using location = await server.context.locations.open("default");
  const options = { location, volumeNamespace: "shop" };
  await using repository = await openVolumeRepository(server.context, options);
  const { snapshotId } = await backUpVolume(repository, {
    source: { requester: "snapshot-pod-volume", namespace: "shop", pod: "p", volume: "extra" },
    path,
    uid: "extra",
    parallel: 1,
    snapshotFolders: false,
  });
  await repository.flush();
  await server.create(VELERO.podVolumeBackups, "extra", {
    kind: "PodVolumeBackup",
    metadata: { labels: { "velero.io/backup-name": backupName } },
    spec: {
      node: "n",
      pod: { kind: "Pod", namespace: "shop", name: "p", uid: "u" },
      volume: "extra",
      backupStorageLocation: "default",
      repoIdentifier: "",
      uploaderType: "kopia",
    },
    status: { phase: "Completed", snapshotID: snapshotId },
  });
  return snapshotId;
}

describe("deletion", () => {
  test("claim 38: a DeleteBackupRequest removes files, snapshots, restores and resources, and nothing else", async () => {
    await locate();
    await synced();
    await server.create(VELERO.restores, "r-gone-2", { spec: { backupName: "fsb-all" } });
    await server.create(VELERO.restores, "r-other", { spec: { backupName: "fsb-all-2" } });
    const extra = await addCopy("fsb-all", EXTRA_BYTES);
    const gone = (await volumesOf("fsb-all")).map(
      ({ status }) => (status as { snapshotID: string }).snapshotID,
    );
    expect(gone.length).toBeGreaterThan(1);
    expect(gone).toContain(extra);
    const all = [...(await snapshots("shop")), ...(await snapshots("blog"))];
    expect(all).toEqual(expect.arrayContaining(gone));
    const files = listing().filter((line) => !line.includes("/fsb-all/"));
    const packBytes = (): number =>
      readdirSync(join(bucket, "kopia/shop"))
        .filter((name) => name.startsWith("p"))
        .reduce((sum, name) => sum + statSync(join(bucket, "kopia/shop", name)).size, 0);

    await request("fsb-all");
    await eventually("no backup", async () =>
      (await backup("fsb-all")) === undefined ? true : undefined,
    );
    await eventually("no request", async () =>
      (await server.names(VELERO.deleteBackupRequests)).length === 0 ? true : undefined,
    );
    expect(backupNames()).not.toContain("fsb-all");
    expect(await server.names(VELERO.restores)).toEqual(["r-other"]);
    const left = [...(await snapshots("shop")), ...(await snapshots("blog"))];
    expect(left.toSorted()).toEqual(all.filter((id) => !gone.includes(id)).toSorted());
    expect(listing()).toEqual(expect.arrayContaining(files)); // repositories only gain files
    const before = packBytes();
    await maintained("shop");
    expect(packBytes()).toBeLessThan(before - EXTRA_BYTES * 0.95);
    const after = [...(await snapshots("shop")), ...(await snapshots("blog"))];
    expect(after).toEqual(left);
  });

  test("a backup that is not there, or at work, is answered with one error", async () => {
    await locate();
    await synced();
    await request("missing");
    expect(await answer("delete-missing")).toMatchObject({
      errors: ["there is no backup missing"],
    });
    const { kube, namespace } = server;
    const patch = { status: { phase: "Finalizing" } };
    await kube.mergePatch(VELERO.backups, { namespace, name: "ns-shop" }, patch);
    await request("ns-shop");
    expect(await answer("delete-ns-shop")).toMatchObject({
      errors: ["the backup is still in progress"],
    });
    expect(backupNames()).toContain("ns-shop");
  });

  test("a deletion that was cut off is brought to its end", async () => {
    await locate();
    await synced();
    const { kube, namespace } = server;
    const deleting = { status: { phase: "Deleting" } };
    await kube.mergePatch(VELERO.backups, { namespace, name: "fsb-all" }, deleting);
    await rm(join(bucket, "backups/fsb-all/velero-backup.json"));
    await server.create(VELERO.deleteBackupRequests, "half", {
      spec: { backupName: "fsb-all" },
      status: { phase: "InProgress" },
    });
    await eventually("no backup", async () =>
      (await backup("fsb-all")) === undefined ? true : undefined,
    );
    expect(backupNames()).not.toContain("fsb-all");
    const left = (await snapshots("shop")).length;
    expect(left).toBeGreaterThan(0);
  });

  test("a step that fails keeps the files, and says which", async () => {
    await locate();
    await synced();
    await server.secret("velero-repo-credentials", { "repository-password": "another" });
    await request("fsb-all");
    const { errors } = (await answer("delete-fsb-all")) ?? {};
    expect(errors?.[0]).toMatch(/^volume copies: /);
    expect(backupNames()).toContain("fsb-all");
    expect((await backup("fsb-all"))?.status?.phase).toBe("Deleting");
  });

  test("a backup whose time is over is deleted; in a read-only location it is marked", async () => {
    await locate();
    await synced();
    const { kube, namespace } = server;
    const over = { status: { expiration: "2020-01-01T00:00:00Z" } };
    await kube.mergePatch(VELERO.backups, { namespace, name: "glob-ns" }, over);
    await eventually("expired", async () =>
      (await backup("glob-ns")) === undefined ? true : undefined,
    );
    expect(backupNames()).not.toContain("glob-ns");
    const where = { namespace, name: "default" };
    await kube.mergePatch(VELERO.backupStorageLocations, where, {
      spec: { accessMode: "ReadOnly" },
    });
    await kube.mergePatch(VELERO.backups, { namespace, name: "ordered" }, over);
    await eventually("marked", async () =>
      (await backup("ordered"))?.metadata.labels?.["velero.io/gc-failure"] === "BSLReadOnly"
        ? true
        : undefined,
    );
    expect(backupNames()).toContain("ordered");
  });
});

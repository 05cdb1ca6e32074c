import { gunzipSync } from "node:zlib";
import { parseBlobId } from "@varve/core";
import type { BlobStore } from "@varve/core/blob";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { BackupAction } from "../../src/backup/action.ts";
import type { ItemOperation } from "../../src/backup/item-operations.ts";
import { decodeJson } from "../../src/kube/go-json.ts";
import { CONFIG_MAPS } from "../../src/kube/core-types.ts";
import { groupResource } from "../../src/kube/resource-catalog.ts";
import { type Backup, VELERO } from "../../src/velero/resources.ts";
import {
  apply,
  type BackupServer,
  configMap,
  fileNames,
  readBackup,
  startBackupServer,
} from "./backup-server.ts";

/** Backups of objects: what is asked for, what is stored, how it ends. */

let own: Namespace;
let server: BackupServer;
beforeAll(async () => {
  own = await createNamespace("backup-server");
  server = await startBackupServer(cluster, { namespace: own.name, actions: [slowAction] });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
});

const ended = new Set<string>();
const canceled: string[] = [];
/** Goes on, for ConfigMaps that are labelled, until the test says that it has ended. */
const slowAction: BackupAction = {
  name: "example/slow",
  appliesTo: (type) => groupResource(type) === "configmaps",
  async execute({ finalizing }, { object }) {
    const { name, namespace, labels } = object.metadata;
    if (labels?.["slow"] === undefined || finalizing === true) {
      return { object };
    }
    const item = { groupResource: "configmaps", namespace, name };
    return { object, operation: { id: name, postItems: [item] } };
  },
  progress: async (_run, id) => ({ completed: ended.has(id), nCompleted: 1, nTotal: 2 }),
  cancel: async (_run, id) => {
    canceled.push(id);
  },
};

/** Names of ConfigMaps in the archive: `namespace/name`. */
async function configMaps(backup: string, location?: string): Promise<string[]> {
  const { list } = await readBackup(server.files(backup, location), backup);
  return (list["v1/ConfigMap"] ?? []).filter((name) => !name.endsWith("/kube-root-ca.crt"));
}

test("claims 1 and 19: a Backup is Completed, and its nine files are in its folder", async () => {
  await using namespace = await createNamespace("files");
  await apply(cluster, configMap(namespace.name, "one"));
  const backup = await server.run("files", { includedNamespaces: [namespace.name] });
  const phase = await kubectl(cluster, [
    ...["-n", own.name, "get", "backups.velero.io", "files", "-o", "jsonpath={.status.phase}"],
  ]);
  expect(phase).toBe("Completed");
  expect(await fileNames(server.files("files"))).toEqual([
    "files-itemoperations.json.gz",
    "files-logs.gz",
    "files-podvolumebackups.json.gz",
    "files-resource-list.json.gz",
    "files-results.gz",
    "files-volumeinfo.json.gz",
    "files-volumesnapshots.json.gz",
    "files.tar.gz",
    "velero-backup.json",
  ]);
  const { tar, json, results } = await readBackup(server.files("files"), "files");
  const path = `namespaces/${namespace.name}/one.json`;
  expect([...tar.keys()][0]).toBe("metadata/version");
  expect(tar.get("metadata/version")).toBe("1.1.0\n");
  expect(tar.get(`resources/configmaps/v1-preferredversion/${path}`)).toBe(
    tar.get(`resources/configmaps/${path}`),
  );
  expect(tar.has(`resources/namespaces/cluster/${namespace.name}.json`)).toBe(true);
  expect(results).toEqual({ errors: {}, warnings: {} });
  expect(json).toMatchObject({ kind: "Backup", apiVersion: "velero.io/v1", spec: backup.spec });
  expect(json.status).toEqual(backup.status);
  expect(backup.status).toMatchObject({ version: 1, formatVersion: "1.1.0", hookStatus: {} });
});

test("claim 13: namespaces that are named are stored, others are not", async () => {
  await using a = await createNamespace("ns-a");
  await using b = await createNamespace("ns-b");
  await using c = await createNamespace("ns-c");
  await apply(cluster, ...[a, b, c].map(({ name }) => configMap(name, "one")));
  await server.run("two-of-three", { includedNamespaces: [a.name, b.name] });
  expect(await configMaps("two-of-three")).toEqual([`${a.name}/one`, `${b.name}/one`]);
  const pattern = `${a.name.slice(0, -2)}*`;
  await server.run("by-pattern", { includedNamespaces: [pattern] });
  expect(await configMaps("by-pattern")).toEqual([`${a.name}/one`]);
  const missing = await server.run("missing", { includedNamespaces: [a.name, "no-such"] });
  expect(missing.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
  expect(await configMaps("missing")).toEqual([`${a.name}/one`]);
  const none = await server.run("no-match", { includedNamespaces: ["zz-*"] });
  expect(none.status).toMatchObject({ phase: "Completed", warnings: 1, progress: {} });
  const { tar } = await readBackup(server.files("no-match"), "no-match");
  expect([...tar.keys()]).toEqual(["metadata/version"]);
});

test("claims 14 and 15: every spelling of a type includes, or excludes, the same", async () => {
  await using namespace = await createNamespace("types");
  const includedNamespaces = [namespace.name];
  await apply(cluster, configMap(namespace.name, "one"), {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "two", namespace: namespace.name },
  });
  const storedBy = async (name: string, spec: object): Promise<string[]> => {
    await server.run(name, { includedNamespaces, ...spec });
    const { tar } = await readBackup(server.files(name), name);
    return [...tar.keys()].filter((path) => !path.includes("/events")).sort();
  };
  const plain = await storedBy("in-0", { includedResources: ["configmaps"] });
  expect(plain).toContain(`resources/configmaps/namespaces/${namespace.name}/one.json`);
  expect(plain.some((path) => path.includes("secrets"))).toBe(false);
  for (const [index, spelling] of ["cm", "configmap", "ConfigMap"].entries()) {
    expect(await storedBy(`in-${index + 1}`, { includedResources: [spelling] })).toEqual(plain);
  }
  const without = await storedBy("out-0", { excludedResources: ["configmaps", "events"] });
  expect(without.some((path) => path.includes("configmaps"))).toBe(false);
  expect(without).toContain(`resources/secrets/namespaces/${namespace.name}/two.json`);
  expect(await storedBy("out-1", { excludedResources: ["cm", "ev"] })).toEqual(without);
  const both = await server.run("both", {
    includedResources: ["pods"],
    excludedResources: ["pods"],
  });
  expect(both.status?.phase).toBe("FailedValidation");
});

test("claim 16: the files land in the named location; unknown and read-only ones fail validation", async () => {
  await using namespace = await createNamespace("location");
  const includedNamespaces = [namespace.name];
  const named = await server.run("named", { includedNamespaces, storageLocation: "second" });
  expect(named.metadata.labels?.["velero.io/storage-location"]).toBe("second");
  expect(await fileNames(server.files("named", "second"))).toHaveLength(9);
  expect(await fileNames(server.files("named"))).toEqual([]);
  for (const storageLocation of ["unknown", "frozen"]) {
    const name = `to-${storageLocation}`;
    const { status } = await server.run(name, { includedNamespaces, storageLocation });
    expect(status?.phase).toBe("FailedValidation");
    expect(status?.validationErrors?.join()).toContain(storageLocation);
    expect(status).not.toHaveProperty("startTimestamp");
    expect(await fileNames(server.files(name))).toEqual([]);
  }
});

test("claims 17 and 18: labelSelector takes what has all labels, orLabelSelectors what has any", async () => {
  await using namespace = await createNamespace("labels");
  const of = (...labels: string[]): Record<string, string> =>
    Object.fromEntries(labels.map((label) => [label, "yes"]));
  await apply(
    cluster,
    configMap(namespace.name, "none"),
    configMap(namespace.name, "only-a", of("a")),
    configMap(namespace.name, "only-b", of("b")),
    configMap(namespace.name, "both", of("a", "b")),
    configMap(namespace.name, "left-out", {
      ...of("a", "b"),
      "velero.io/exclude-from-backup": "true",
    }),
  );
  const includedNamespaces = [namespace.name];
  const names = (...all: string[]): string[] => all.map((name) => `${namespace.name}/${name}`);
  await server.run("all-labels", {
    includedNamespaces,
    labelSelector: { matchLabels: of("a", "b") },
  });
  expect(await configMaps("all-labels")).toEqual(names("both"));
  const orLabelSelectors = [{ matchLabels: of("a") }, { matchLabels: of("b") }];
  await server.run("any-label", { includedNamespaces, orLabelSelectors });
  expect(await configMaps("any-label")).toEqual(names("both", "only-a", "only-b"));
  const { json } = await readBackup(server.files("any-label"), "any-label");
  expect(json.status?.progress).toEqual({ totalItems: 4, itemsBackedUp: 4 }); // with the namespace
  const both = await server.run("both-selectors", {
    labelSelector: { matchLabels: of("a") },
    orLabelSelectors,
  });
  expect(both.status?.phase).toBe("FailedValidation");
  expect(await fileNames(server.files("both-selectors"))).toEqual([]);
});

test("claim 6: snapshots made by other software are not stored", async () => {
  await using namespace = await createNamespace("foreign");
  await apply(cluster, {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: { name: "foreign", namespace: namespace.name },
    spec: { volumeSnapshotClassName: "csi", source: { persistentVolumeClaimName: "no-such" } },
  });
  await server.run("no-snapshots", { includedNamespaces: [namespace.name] });
  const { list } = await readBackup(server.files("no-snapshots"), "no-snapshots");
  expect(Object.keys(list).filter((kind) => kind.includes("snapshot"))).toEqual([]);
});

test("a name that is in the location already is Failed, and nothing is overwritten", async () => {
  await using namespace = await createNamespace("again");
  const spec = { includedNamespaces: [namespace.name] };
  await server.run("twice", spec);
  const before = await readBackup(server.files("twice"), "twice");
  await server.kube.delete(VELERO.backups, { namespace: own.name, name: "twice" });
  const again = await server.run("twice", spec);
  expect(again.status).toMatchObject({ phase: "Failed" });
  expect(again.status?.failureReason).toContain("already exists");
  expect((await readBackup(server.files("twice"), "twice")).json).toEqual(before.json);
});

test("orderedResources are stored first, in their order; what is missing is a warning", async () => {
  await using namespace = await createNamespace("order");
  const names = ["a", "b", "c"];
  await apply(cluster, ...names.map((name) => configMap(namespace.name, name)));
  const at = (name: string): string => `${namespace.name}/${name}`;
  const { status } = await server.run("ordered", {
    includedNamespaces: [namespace.name],
    orderedResources: { configmaps: [at("c"), at("no-such"), at("a")].join(",") },
  });
  expect(status).toMatchObject({ phase: "Completed", warnings: 1 });
  const { tar } = await readBackup(server.files("ordered"), "ordered");
  const stored = [...tar.keys()]
    .filter((path) => path.startsWith("resources/configmaps/namespaces"))
    .map((path) => path.replace(/.*\/(.*)\.json/, "$1"));
  expect(stored).toEqual(["c", "a", "b", "kube-root-ca.crt"]);
});

test("operations go on after a restart, are canceled when they are late, and what they changed is stored", async () => {
  await using namespace = await createNamespace("slow");
  const labels = { slow: "yes" };
  const maps = ["done", "late"].map((name) => configMap(namespace.name, name, labels));
  await apply(cluster, ...maps);
  await server.create("slow", {
    includedNamespaces: [namespace.name],
    itemOperationTimeout: "6s",
  });
  const phase = async (): Promise<string | undefined> => {
    const where = { namespace: own.name, name: "slow" };
    const { status } = (await server.kube.get(VELERO.backups, where)) as Backup;
    return status?.phase;
  };
  while ((await phase()) !== "WaitingForPluginOperations") {
    await server.context.environment.sleep(50);
  }
  await server.restart();
  const where = { namespace: namespace.name, name: "done" };
  await server.kube.mergePatch(CONFIG_MAPS, where, { data: { a: "changed" } });
  ended.add("done");
  const { status } = await server.finished("slow");
  expect(status).toMatchObject({
    phase: "PartiallyFailed",
    backupItemOperationsAttempted: 2,
    backupItemOperationsCompleted: 1,
    backupItemOperationsFailed: 1,
  });
  expect(canceled).toEqual(["late"]);
  const store = server.files("slow");
  const { tar, json } = await readBackup(store, "slow");
  expect(json.status).toEqual(status);
  const stored = tar.get(`resources/configmaps/namespaces/${namespace.name}/done.json`) ?? "";
  expect(decodeJson(stored)).toMatchObject({ data: { a: "changed" } });
  const operations = await readOperations(store, "slow");
  expect(operations.map(({ spec, status }) => [spec.operationID, status.phase])).toEqual([
    ["done", "Completed"],
    ["late", "Failed"],
  ]);
  expect(operations[1]?.status.error).toContain("was not done in 6s");
});

async function readOperations(store: BlobStore, name: string): Promise<ItemOperation[]> {
  const file = await store.get(parseBlobId(`${name}-itemoperations.json.gz`));
  return JSON.parse(gunzipSync(file).toString("utf8")) as ItemOperation[]; // its own shape
}

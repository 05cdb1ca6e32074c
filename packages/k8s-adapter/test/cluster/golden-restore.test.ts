import { lstat, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { gunzipSync } from "node:zlib";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { KubeObject } from "../../src/kube/kube-api.ts";
import { VELERO } from "../../src/velero/resources.ts";
import { unpackVeleroBackups } from "../velero-backups.ts";
import { apply, k, startTestServer } from "./server.ts";

/** What real Velero backed up is found in its bucket, and restored with its volumes, as real Velero restored it. */

/** What the namespaced objects need that a restore of a namespace does not bring. */
const BESIDE = new Set([
  "CustomResourceDefinition",
  "ClusterRole",
  "PriorityClass",
  "StorageClass",
]);

test("claim 44: a backup of real Velero is synchronised and restored, volume data included", async () => {
  await using golden = await unpackVeleroBackups();
  await using velero = await createNamespace("velero");
  const target = { name: `shop-copy-${velero.name}` };
  const disk = await mkdtemp(join(tmpdir(), "varve-pv-"));
  const objects = parseAllDocuments(
    await readFile(join(golden.folder, "objects/shop.yaml"), "utf8"),
  )
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object) => object !== null && BESIDE.has(object.kind ?? ""));
  await apply(...(objects as KubeObject[]), localVolume(disk, target.name));
  await apply({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "velero-repo-credentials", namespace: velero.name },
    stringData: { "repository-password": "static-passw0rd\n" },
  });
  const list = join(
    golden.folder,
    "bucket/restores/r-shop-mapped/restore-r-shop-mapped-resource-list.json.gz",
  );
  const theirs = await outcomes(list, "shop-copy");
  await using server = await startTestServer({
    namespace: velero.name,
    fspath: join(golden.folder, "bucket"),
  });
  await server.ended(VELERO.backups, "fsb-all-2").catch(async () => {
    await k(
      "wait",
      "-n",
      velero.name,
      "backups.velero.io/fsb-all-2",
      "--for=create",
      "--timeout=60s",
    );
  });
  const restore = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "r-shop-mapped" },
    spec: {
      backupName: "fsb-all-2",
      includedNamespaces: ["shop"],
      namespaceMapping: { shop: target.name },
    },
  });
  await k("wait", "-n", target.name, "pod/db-0", "--for=condition=Ready", "--timeout=60s");
  expect(restore).toMatchObject({
    status: { phase: "Completed" },
  });
  const expected = (await readFile(join(golden.folder, "fsb-restored-tree.txt"), "utf8"))
    .split("\n")
    .filter((line) => line !== "" && !line.includes(".velero"))
    .map(withoutFolderSize);
  expect(await outcomes(list, target.name)).toEqual(theirs);
  expect((await tree(disk)).map(withoutFolderSize)).toEqual(expected);
  await k("delete", "namespace", target.name, "--wait=false");
  await rm(disk, { recursive: true });
});

/** What a restore says that became of each object, without the namespace. */
async function outcomes(file: string, namespace: string): Promise<string[]> {
  const text = gunzipSync(await readFile(file)).toString("utf8");
  return Object.entries(JSON.parse(text) as Record<string, string[]>)
    .flatMap(([type, items]) => items.map((item) => `${type} ${item.replace(namespace, "TARGET")}`))
    .sort();
}

function localVolume(path: string, namespace: string): object {
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: `golden-${namespace}` },
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      storageClassName: "local-manual",
      claimRef: { namespace, name: "db-data" },
      local: { path },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: [
                { key: "kubernetes.io/hostname", operator: "In", values: [cluster.nodeName] },
              ],
            },
          ],
        },
      },
    },
  };
}

/** The lines of the golden listing: type, mode, owner, size, path, target of links. */
async function tree(folder: string): Promise<string[]> {
  const lines: string[] = [];
  const visit = async (path: string): Promise<void> => {
    const facts = await lstat(path);
    const name = relative(folder, path);
    if (name === ".velero") {
      return;
    }
    const type = facts.isDirectory() ? "d" : facts.isSymbolicLink() ? "l" : "f";
    const mode = (facts.mode & 0o7777).toString(8);
    const link = type === "l" ? await readlink(path) : "";
    lines.push(`${type} ${mode} ${facts.uid}:${facts.gid} ${facts.size} ${name} -> ${link}`);
    for (const child of type === "d" ? (await readdir(path)).sort() : []) {
      await visit(join(path, child));
    }
  };
  await visit(folder);
  return lines;
}

/** Of a folder the size is the file system's business. */
function withoutFolderSize(line: string): string {
  return line.replace(/^(d \d+ \d+:\d+) \d+/, "$1");
}

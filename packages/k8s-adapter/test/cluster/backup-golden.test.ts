import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { findEntry, listSnapshots, openRepository } from "@varve/core";
import { openFileSystemBucket } from "@varve/core/blob";
import { type Kube, kubectl, startKube } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { Backup } from "../../src/velero/resources.ts";
import { runNodeAgent } from "../../src/node-agent/run-node-agent.ts";
import { repositoryPassword } from "../../src/volume/repository-password.ts";
import { unpackVeleroBackups, type VeleroBackups } from "../velero-backups.ts";
import {
  apply,
  type BackupServer,
  fileNames,
  pod,
  readBackup,
  startBackupServer,
} from "./backup-server.ts";

/**
 * What real Velero made of a cluster, and what we make of the same objects and requests: the same files, entries and
 * members. In a cluster of its own, as whole clusters are compared.
 */

let kube: Kube;
let golden: VeleroBackups;
let server: BackupServer;
const agent = new AbortController();
let agentEnd: Promise<void> | undefined;

beforeAll(async () => {
  golden = await unpackVeleroBackups();
  kube = await startKube({ realNode: true, kwokNodes: 0 });
  const k = (...args: string[]): Promise<string> => kubectl(kube, args);
  const folder = join(golden.folder, "local");
  for (const volume of ["pv-shop-db", "pv-blog-media"]) {
    await mkdir(join(folder, volume), { recursive: true });
  }
  const objects = async (file: string): Promise<object[]> => {
    const text = await readFile(join(golden.folder, "objects", file), "utf8");
    return parseAllDocuments(text.replaceAll("LOCAL_DIR", folder)).map((each) => each.toJS());
  };
  const all = await objects("shop.yaml");
  const isDefinition = (object: object): boolean =>
    "kind" in object && ["CustomResourceDefinition", "Namespace"].includes(String(object.kind));
  await apply(kube, ...all.filter(isDefinition), namespace("velero"));
  await k("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s");
  await apply(kube, ...all.filter((object) => !isDefinition(object)));
  // As text: a number has more digits than ours keep.
  await k("apply", "-f", join(golden.folder, "objects/custom-resources.yaml"));
  server = await startBackupServer(kube, { namespace: "velero", account: false });
  const own = (await objects("velero-namespace.yaml")).filter(
    (object) => "kind" in object && object.kind === "ConfigMap",
  );
  const marker = pod("velero", "agent", {
    image: kube.image,
    labels: { role: "node-agent", "velero.io/exclude-from-backup": "true" },
  });
  await apply(kube, ...own, marker);
  await k("wait", "-n", "velero", "pod/agent", "--for=condition=Ready", "--timeout=60s");
  await k("wait", "-n", "shop", "deployment/web", "--for=condition=Available", "--timeout=60s");
  await k("wait", "-n", "shop", "pod/db-0", "--for=condition=Ready", "--timeout=60s");
  await k("wait", "-n", "blog", "pod/writer", "--for=condition=Ready", "--timeout=60s");
  await k("wait", "-n", "shop", "job/migrate", "--for=condition=Complete", "--timeout=60s");
  agentEnd = runNodeAgent(server.context, {
    nodeName: kube.nodeName,
    podsFolder: kube.podsDir,
    signal: agent.signal,
  });
});
afterAll(async () => {
  agent.abort();
  await agentEnd;
  await server?.[Symbol.asyncDispose]();
  await kube?.stop();
  await golden?.[Symbol.asyncDispose]();
});

function namespace(name: string): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name } };
}

/** Entries of the preferred version, without what is named by chance or belongs to the cluster's own working. */
function entries(tar: ReadonlyMap<string, string>): string[] {
  return [...tar.keys()]
    .filter((path) => !/^resources\/[^/]*\/v[^/]*-preferredversion\//.test(path))
    .filter(
      (path) => !/\/(?:events|leases|ipaddresses|clustertrustbundles)(?:\.[^/]*)?\//.test(path),
    )
    .filter((path) => !/namespaces\/(?:velero|default|kube-[a-z-]+)[./]/.test(path))
    .filter((path) => !/cluster\/(?:velero|default|kube-[a-z-]+)\.json/.test(path))
    .map((path) =>
      path.replace(/((?:web|db|web-public|migrate)(?:-[0-9a-f]+)?)-[a-z0-9]{5}\.json/, "$1-*.json"),
    )
    .sort();
}

async function both(name: string) {
  const spec = parse(await readFile(join(golden.folder, "requests", `${name}.yaml`), "utf8"));
  const { metadata } = spec;
  const ours = await server.run(name, spec.spec ?? {}, { labels: metadata.labels ?? {} });
  const bucket = await openFileSystemBucket(join(golden.folder, "bucket"));
  return { ours, theirs: await readBackup(bucket.store(`backups/${name}/`), name) };
}

/** Real Velero spells out members that are empty. */
function plain({ metadata, hooks, ...spec }: Backup["spec"]): object {
  const { resourcePolicy } = spec;
  const text = JSON.stringify({
    ...spec,
    ...(Object.keys(metadata ?? {}).length > 0 ? { metadata } : {}),
    ...(Object.keys(hooks ?? {}).length > 0 ? { hooks } : {}),
    ...(resourcePolicy === undefined
      ? {}
      : { resourcePolicy: { kind: resourcePolicy.kind, name: resourcePolicy.name } }),
  });
  return JSON.parse(text.replaceAll(/,"timeout":"0s"/g, ""));
}

const SAME = [
  "ns-shop",
  "short-names",
  "excluded-short",
  "cluster-true",
  "cluster-false",
  "scoped-new",
  "scoped-all-cluster",
  "glob-ns",
  "glob-none",
  "missing-ns",
  "spec-hooks",
  "ordered",
  "fsb-policy",
  "everything-old",
];

test.each(SAME)("%s holds what real Velero stored", async (name) => {
  if (name === "everything-old") {
    await kubectl(kube, ["label", "namespace", "scratch", "velero.io/exclude-from-backup-"]);
  }
  const { ours, theirs } = await both(name);
  const stored = await readBackup(server.files(name), name);
  expect(entries(stored.tar)).toEqual(entries(theirs.tar));
  expect(plain(stored.json.spec)).toEqual(plain(theirs.json.spec));
  const { errors, warnings, hookStatus, phase } = theirs.json.status ?? {};
  expect(ours.status).toMatchObject({ phase, hookStatus });
  expect([ours.status?.errors, ours.status?.warnings]).toEqual([errors, warnings]);
  expect(Object.keys(stored.json.status ?? {}).sort()).toEqual(
    Object.keys(theirs.json.status ?? {}).sort(),
  );
  const folder = await readdir(join(golden.folder, "bucket/backups", name));
  expect(await fileNames(server.files(name))).toEqual(folder.sort());
  const shape = (infos: readonly Record<string, unknown>[]): string[] =>
    infos.map((info) => [info["pvName"], ...Object.keys(info).sort()].join()).sort();
  // A copied claim is told of also where its PV is not stored: a restore learns that there is data for it.
  const told = stored.volumes.filter(({ pvName }) => name !== "cluster-false" || pvName === "");
  expect(shape(told)).toEqual(shape(theirs.volumes));
});

test("objects are written as real Velero writes them, to the byte", async () => {
  const bucket = await openFileSystemBucket(join(golden.folder, "bucket"));
  const theirs = await readBackup(bucket.store("backups/ns-shop/"), "ns-shop");
  const ours = await readBackup(server.files("ns-shop"), "ns-shop");
  for (const path of [
    "configmaps/namespaces/shop/web-config",
    "widgets.demo.example/namespaces/shop/silver",
    "widgets.demo.example/namespaces/shop/gold",
  ]) {
    const text = (tar: ReadonlyMap<string, string>): string =>
      (tar.get(`resources/${path}.json`) ?? "")
        .replace(/"annotations":\{"kubectl[^}]*\},/, "") // we applied what they created
        .replace(/"managedFields":\[.*\],("name":)/, "$1")
        .replace(',"status":{"ready":true}', "") // of a controller that is not here
        .replaceAll(/"(?:creationTimestamp|uid|resourceVersion)":"[^"]*",?/g, "");
    expect(text(ours.tar)).toBe(text(theirs.tar));
    expect(text(ours.tar)).toContain('"apiVersion":');
  }
});

test("claim 22: pre hooks run before the data is copied, post hooks after", async () => {
  const context = server.context;
  const args = ["exec", "-n", "shop", "db-0", "-c", "db", "--", "cat", "/data/hook.log"];
  const lines = (await kubectl(kube, args)).trim().split("\n");
  expect(lines.slice(0, 2)).toEqual(["pre", "post"]);
  const { volumes } = await readBackup(server.files("ns-shop"), "ns-shop");
  const { snapshotHandle } = Object(volumes[0]?.["pvbInfo"]);
  await using location = await context.locations.open("default");
  const password = await repositoryPassword(context);
  await using repository = await openRepository(location.repository("shop"), { password });
  const { snapshots } = await listSnapshots(repository);
  const roots = snapshots.filter(({ id }) => id === snapshotHandle).map(({ root }) => root);
  expect(roots).toHaveLength(1);
  for (const root of roots) {
    expect(await findEntry(repository, root, "hook.log")).toMatchObject({
      sizeBytes: "pre\n".length,
    });
  }
});

/** Where we do something else, on purpose (spec section 2.4). */
test("namespaces labelled for exclusion do not turn no filter into a filter", async () => {
  await kubectl(kube, ["label", "namespace", "scratch", "velero.io/exclude-from-backup=true"]);
  const all = await both("all-default");
  const stored = entries((await readBackup(server.files("all-default"), "all-default")).tar);
  const theirs = entries(all.theirs.tar);
  expect(stored).toEqual(expect.arrayContaining(theirs));
  const more = stored.filter((path) => !theirs.includes(path));
  expect(more).toContain("resources/storageclasses.storage.k8s.io/cluster/local-manual.json");
  expect(more.filter((path) => path.includes("/namespaces/"))).toEqual([]);
  expect(more).not.toContain("resources/namespaces/cluster/scratch.json");
});

test.each(["label-front", "label-both"])(
  "%s: only namespaces that hold something are stored",
  async (name) => {
    const { theirs } = await both(name);
    const stored = entries((await readBackup(server.files(name), name)).tar);
    expect(entries(theirs.tar)).toEqual(expect.arrayContaining(stored));
    const fewer = entries(theirs.tar).filter((path) => !stored.includes(path));
    expect(fewer.filter((path) => !path.startsWith("resources/namespaces/cluster/"))).toEqual([]);
  },
);

test.each(["bad-selectors", "bad-mix"])(
  "%s: refused, and nothing is in the bucket",
  async (name) => {
    const request = parse(await readFile(join(golden.folder, "requests", `${name}.yaml`), "utf8"));
    const { status, spec } = await server.run(name, request.spec);
    const made = await readFile(join(golden.folder, "crs/backups", `${name}.yaml`), "utf8");
    const theirs: Backup = parse(made);
    expect(Object.keys(status ?? {}).sort()).toEqual(Object.keys(theirs.status ?? {}).sort());
    expect(status?.validationErrors).toHaveLength(theirs.status?.validationErrors?.length ?? 0);
    expect(plain(spec)).toEqual(plain(theirs.spec));
    expect(await fileNames(server.files(name))).toEqual([]);
  },
);

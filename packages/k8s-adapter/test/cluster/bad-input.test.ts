import { rename, rm, writeFile } from "node:fs/promises";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { BackupAction } from "../../src/backup/action.ts";
import { groupResource } from "../../src/kube/resource-catalog.ts";
import { apply, configMap, readBackup, startBackupServer } from "./backup-server.ts";

/** What goes wrong around a server is told in a status, and the server works on. */

test("a bucket that goes away in the middle fails the backup with the reason, and the next one is Completed", async () => {
  await using own = await createNamespace("gone");
  await using app = await createNamespace("gone-app");
  await apply(cluster, configMap(app.name, "one"));
  let bucket: string | undefined;
  const unplug: BackupAction = {
    name: "example.com/unplug",
    appliesTo: (type) => groupResource(type) === "configmaps",
    async execute(_run, { object }) {
      if (bucket !== undefined) {
        await rename(bucket, `${bucket}.away`);
        await writeFile(bucket, "no folder");
      }
      return { object };
    },
  };
  await using server = await startBackupServer(cluster, { namespace: own.name, actions: [unplug] });
  {
    await using location = await server.context.locations.open("default");
    bucket = String(location.resource.spec.config?.["fspath"]);
  }
  const folder = bucket;
  const includedNamespaces = [app.name];
  const failed = await server.run("in-the-middle", { includedNamespaces });
  expect(failed.status).toMatchObject({ phase: "Failed" });
  expect(failed.status?.failureReason).toMatch(/backup failed: .*ENOTDIR/);
  bucket = undefined;
  await rm(folder);
  await rename(`${folder}.away`, folder);
  const next = await server.run("afterwards", { includedNamespaces });
  expect(next.status).toMatchObject({ phase: "Completed" });
});

test("without the permission to list a type, it is an error of the backup and all else is stored", async () => {
  await using own = await createNamespace("denied");
  await using app = await createNamespace("denied-app");
  await apply(cluster, configMap(app.name, "one"), ...account(own.name));
  const access = ["create", "token", "limited", "-n", own.name];
  const user = { token: (await kubectl(cluster, access)).trim() };
  const config = parse(cluster.kubeconfig) as { users: { user: object }[] };
  const kubeconfig = stringify({
    ...config,
    users: config.users.map((each) => ({ ...each, user })),
  });
  const limited = { ...cluster, kubeconfig };
  await using server = await startBackupServer(limited, { namespace: own.name, account: false });
  const done = await server.run("denied", {
    includedNamespaces: [app.name],
    includedResources: ["configmaps", "services"],
  });
  expect(done.status?.failureReason).toBeUndefined();
  expect(done.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
  const { results, list } = await readBackup(server.files("denied"), "denied");
  expect(JSON.stringify(results.errors)).toMatch(/services.*forbidden/);
  expect(list["v1/ConfigMap"]).toContain(`${app.name}/one`);
  expect(list).not.toHaveProperty("v1/Service");
  await kubectl(cluster, ["delete", "clusterrole,clusterrolebinding", own.name]);
});

/** One that may do everything, but nothing with services. */
function account(namespace: string): object[] {
  const rbac = "rbac.authorization.k8s.io";
  const all = ["get", "list", "watch", "create", "update", "patch", "delete"];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "limited", namespace } },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name: namespace },
      rules: [
        { apiGroups: ["velero.io", "apps", "batch"], resources: ["*"], verbs: all },
        {
          apiGroups: [""],
          resources: ["namespaces", "configmaps", "secrets", "pods"],
          verbs: all,
        },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: namespace },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name: namespace },
      subjects: [{ kind: "ServiceAccount", name: "limited", namespace }],
    },
  ];
}

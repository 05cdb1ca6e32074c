import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { expect, test } from "vitest";
import { VELERO } from "../../src/velero/resources.ts";
import { application, exec, FILL, LOOK } from "./demo-application.ts";
import { apply, k, startTestServer } from "./server.ts";

/** An application with everything, backed up, deleted and restored: objects and data are as they were. */

test("claims 1, 4, 5, 9, 44: an application with its volumes comes back, in its own namespace and in others", async () => {
  await using velero = await createNamespace("velero");
  await using app = await createNamespace("shop", { team: "sales" });
  await using server = await startTestServer({ namespace: velero.name });
  const namespace = app.name;
  await apply(...application(namespace));
  await k("wait", "-n", namespace, "pod", "--all", "--for=condition=Ready", "--timeout=60s");
  await exec(namespace, "db", FILL);
  await exec(namespace, "web", "echo a page > /pages/one");
  const owned = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "owned", namespace } };
  await kubectl(
    cluster,
    ["apply", "--server-side", "--field-manager=gitops", "-f", "-"],
    JSON.stringify({ ...owned, data: { replicas: "3" } }),
  );
  const fields = async (): Promise<string> =>
    await k(
      ...["get", "-n", namespace, "configmap/owned", "-o", "jsonpath={.metadata.managedFields}"],
    );
  const ownedBefore = await fields();
  expect(ownedBefore).toContain("gitops");
  const before = await exec(namespace, "db", LOOK);

  const backup = await server.run(VELERO.backups, {
    kind: "Backup",
    metadata: { name: "first" },
    spec: { includedNamespaces: [namespace], defaultVolumesToFsBackup: true },
  });
  expect(backup).toMatchObject({ status: { phase: "Completed" } });
  // As the server's own account, which cannot delete what is the application's.
  const account = `system:serviceaccount:${velero.name}:velero`;
  const may = ["auth", "can-i", "delete", "configmaps", "-n", namespace, "--as", account];
  await expect(k(...may)).rejects.toThrow(/ended with 1/);

  await k("delete", "namespace", namespace, "--wait=true", "--timeout=60s");
  const restored = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "back" },
    spec: { backupName: "first" },
  });
  expect(restored).toMatchObject({ status: { phase: "Completed" } });
  await k("wait", "-n", namespace, "pod/db", "--for=condition=Ready", "--timeout=60s");
  expect(await exec(namespace, "db", LOOK)).toBe(before);
  expect(await exec(namespace, "db", "ls -A /data/.snapshot 2>&1 || true")).toContain(
    "No such file",
  );
  expect(await k("get", "namespace", namespace, "-o", "jsonpath={.metadata.labels.team}")).toBe(
    "sales",
  );
  const settings = await k("get", "-n", namespace, "configmap/settings", "-o", "jsonpath={.data}");
  expect(JSON.parse(settings)).toEqual({ mode: '<fast> & "safe"' });
  // Whoever applied it before owns the same fields; the labels are the restore's.
  expect(JSON.parse(await fields())).toEqual(expect.arrayContaining(JSON.parse(ownedBefore)));

  await using other = await createNamespace("other");
  const mapped = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "mapped" },
    spec: { backupName: "first", namespaceMapping: { [namespace]: other.name } },
  });
  expect(mapped).toMatchObject({ status: { phase: "Completed" } });
  await k("wait", "-n", other.name, "pod/db", "--for=condition=Ready", "--timeout=60s");
  expect(await exec(other.name, "db", LOOK)).toBe(before);

  await using strict = await createNamespace("strict", {
    "pod-security.kubernetes.io/enforce": "restricted",
  });
  const admitted = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "admitted" },
    spec: {
      backupName: "first",
      namespaceMapping: { [namespace]: strict.name },
      labelSelector: { matchLabels: { app: "web" } },
    },
  });
  expect(admitted).toMatchObject({ status: { phase: "Completed" } });
  await k("wait", "-n", strict.name, "pod/web", "--for=condition=Ready", "--timeout=60s");
  expect(await exec(strict.name, "web", "cat /pages/one")).toBe("a page\n");
});

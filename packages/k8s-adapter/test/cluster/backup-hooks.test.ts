import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Backup, type BackupHookSpec, VELERO } from "../../src/velero/resources.ts";
import { apply, type BackupServer, pod, readBackup, startBackupServer } from "./backup-server.ts";

/** Commands in pods, before and after they are stored. */

let own: Namespace;
let server: BackupServer;
beforeAll(async () => {
  own = await createNamespace("hook-server");
  server = await startBackupServer(cluster, {
    namespace: own.name,
    settings: { concurrentBackups: 4 },
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
});

type PodOptions = Omit<Parameters<typeof pod>[2], "image">;

async function runPods(
  namespace: string,
  pods: Readonly<Record<string, PodOptions>>,
): Promise<void> {
  await apply(
    cluster,
    ...Object.entries(pods).map(([name, options]) =>
      pod(namespace, name, { ...options, image: cluster.image }),
    ),
  );
  const args = ["wait", "-n", namespace, "pod", "--all", "--for=condition=Ready"];
  await kubectl(cluster, [...args, "--timeout=60s"]);
}

/** What hooks wrote in a pod. */
async function written(namespace: string, name: string, container = "main"): Promise<string[]> {
  const shell = "cat /data/log 2>/dev/null || true";
  const args = ["exec", "-n", namespace, name, "-c", container, "--", "sh", "-c", shell];
  const text = await kubectl(cluster, args);
  return text.split("\n").filter((line) => line !== "");
}

const say = (text: string): { exec: { command: string[] } } => ({
  exec: { command: ["sh", "-c", `echo ${text} >> /data/log`] },
});

function backUp(name: string, namespaces: string[], hooks: BackupHookSpec[]): Promise<Backup> {
  return server.run(name, {
    includedNamespaces: namespaces,
    includedNamespaceScopedResources: ["pods"],
    hooks: { resources: hooks },
  });
}

async function storedPods(backup: string): Promise<string[]> {
  const { list } = await readBackup(server.files(backup), backup);
  return (list["v1/Pod"] ?? []).map((name) => name.replace(/.*\//, ""));
}

test("claims 23, 24, 25 and 26: hooks run in the pods that all of their selectors select", async () => {
  await using a = await createNamespace("hooks-a");
  await using b = await createNamespace("hooks-b");
  await using c = await createNamespace("hooks-c");
  for (const { name } of [a, b, c]) {
    await runPods(name, { p: { labels: { app: name === a.name ? "web" : "db" } } });
  }
  const { status } = await backUp(
    "selectors",
    [a.name, b.name, c.name],
    [
      { name: "all", pre: [say("all")] },
      { name: "a-only", includedNamespaces: [a.name], pre: [say("a-only")] },
      { name: "not-a", excludedNamespaces: [a.name], pre: [say("not-a")] },
      { name: "not-pods", includedResources: ["deployments"], pre: [say("wrong")] },
      { name: "pods-excluded", excludedResources: ["po"], pre: [say("wrong")] },
      { name: "pods", includedResources: ["pod"], pre: [say("pods")] },
      { name: "labels", labelSelector: { matchLabels: { app: "web" } }, pre: [say("labels")] },
    ],
  );
  expect(await written(a.name, "p")).toEqual(["all", "a-only", "pods", "labels"]);
  expect(await written(b.name, "p")).toEqual(["all", "not-a", "pods"]);
  expect(await written(c.name, "p")).toEqual(["all", "not-a", "pods"]);
  expect(status).toMatchObject({ phase: "Completed", hookStatus: { hooksAttempted: 10 } });
});

test("claims 27 and 29: pre and post hooks run in order, each with its arguments as they are", async () => {
  await using namespace = await createNamespace("hooks-order");
  await runPods(namespace.name, { p: {} });
  const exact = `printf '%s|' "$0" "$@" >> /data/log`;
  const { status } = await backUp(
    "order",
    [namespace.name],
    [
      {
        name: "two-each",
        pre: [say("pre-1"), { exec: { command: ["sh", "-c", exact, "a b", "$HOME", ""] } }],
        post: [say("post-1"), say("post-2")],
      },
    ],
  );
  expect(await written(namespace.name, "p")).toEqual(["pre-1", "a b|$HOME||post-1", "post-2"]);
  expect(status).toMatchObject({ phase: "Completed", hookStatus: { hooksAttempted: 4 } });
});

test("claim 28: a hook runs in the first container by default; one that is not there is an error", async () => {
  await using namespace = await createNamespace("hooks-container");
  const containers = ["first", "second"];
  await runPods(namespace.name, { p: { containers } });
  const command = ["sh", "-c", "echo $ME >> /data/log"];
  const { status } = await backUp(
    "containers",
    [namespace.name],
    [
      {
        name: "who",
        pre: [
          { exec: { command } },
          { exec: { command, container: "second" } },
          { exec: { command, container: "third", onError: "Continue" } },
        ],
      },
    ],
  );
  expect(await written(namespace.name, "p", "first")).toEqual(["first", "second"]);
  expect(status).toMatchObject({
    phase: "PartiallyFailed",
    errors: 1,
    hookStatus: { hooksAttempted: 3, hooksFailed: 1 },
  });
  const { results } = await readBackup(server.files("containers"), "containers");
  expect(results.errors.namespaces?.[namespace.name]?.join()).toContain("third");
});

test("claim 30: onError is Fail by default: the pod is left out and its other hooks are not run", async () => {
  await using namespace = await createNamespace("hooks-fail");
  await runPods(namespace.name, { p: {}, other: { labels: { app: "other" } } });
  const failing = (onError?: "Continue" | "Fail"): BackupHookSpec[] => [
    {
      name: "fails",
      labelSelector: { matchExpressions: [{ key: "app", operator: "DoesNotExist" }] },
      pre: [
        { exec: { command: ["false"], ...(onError === undefined ? {} : { onError }) } },
        say(`after-${onError}`),
      ],
    },
  ];
  const counters = { hooksAttempted: 2, hooksFailed: 1 };
  for (const [name, onError] of [
    ["unset", undefined],
    ["fail", "Fail"],
  ] as const) {
    const { status } = await backUp(name, [namespace.name], failing(onError));
    expect(status).toMatchObject({ phase: "PartiallyFailed", errors: 2, hookStatus: counters });
    expect(await storedPods(name)).toEqual(["other"]);
  }
  const { status } = await backUp("continue", [namespace.name], failing("Continue"));
  expect(status).toMatchObject({ phase: "PartiallyFailed", errors: 1, hookStatus: counters });
  expect(await storedPods("continue")).toEqual(["other", "p"]);
  expect(await written(namespace.name, "p")).toEqual(["after-Continue"]);
  const other = server.create("other", {
    hooks: {
      resources: [
        // @ts-expect-error not a value of the type
        { name: "x", pre: [{ exec: { command: ["true"], onError: "Ignore" } }] },
      ],
    },
  });
  await expect(other).rejects.toMatchObject({ code: "invalid" });
});

test("claim 30: a hook ends after its timeout, which is 30 seconds by default", async () => {
  await using namespace = await createNamespace("hooks-time");
  await runPods(namespace.name, { p: {} });
  const sleeping = async (name: string, timeout?: string): Promise<number> => {
    const exec = { command: ["sleep", "60"], ...(timeout === undefined ? {} : { timeout }) };
    const { status = {} } = await backUp(name, [namespace.name], [{ name, pre: [{ exec }] }]);
    expect(status.phase).toBe("PartiallyFailed");
    const { log } = await readBackup(server.files(name), name);
    const timeOf = (text: string): number =>
      Date.parse(
        /time="([^"]*)"/.exec(log.split("\n").find((line) => line.includes(text)) ?? "")?.[1] ?? "",
      );
    return (timeOf("Error executing hook") - timeOf("hook: running")) / 1000;
  };
  const [short, long] = await Promise.all([sleeping("short", "2s"), sleeping("long")]);
  expect(short).toBeGreaterThanOrEqual(1);
  expect(short).toBeLessThanOrEqual(4);
  expect(long).toBeGreaterThanOrEqual(28);
  expect(long).toBeLessThanOrEqual(32);
});

test("annotations of a pod replace the hooks of the spec, phase by phase", async () => {
  await using namespace = await createNamespace("hooks-own");
  const key = (name: string): string => `pre.hook.backup.velero.io/${name}`;
  await runPods(namespace.name, {
    p: {
      annotations: {
        [key("command")]: JSON.stringify(say("own").exec.command),
        [key("timeout")]: "10s",
      },
    },
  });
  await backUp(
    "own",
    [namespace.name],
    [{ name: "spec", pre: [say("spec-pre")], post: [say("spec-post")] }],
  );
  expect(await written(namespace.name, "p")).toEqual(["own", "spec-post"]);
});

test("a killed server goes on with a backup that was in progress", async () => {
  await using namespace = await createNamespace("hooks-kill");
  await runPods(namespace.name, { p: {} });
  const wait = "echo began >> /data/log; while [ ! -e /data/go ]; do sleep 0.1; done";
  await server.create("killed", {
    includedNamespaces: [namespace.name],
    hooks: { resources: [{ name: "wait", pre: [{ exec: { command: ["sh", "-c", wait] } }] }] },
  });
  while ((await written(namespace.name, "p")).length === 0) {
    await server.context.environment.sleep(100);
  }
  await server.restart();
  const where = { namespace: own.name, name: "killed" };
  const running = (await server.kube.get(VELERO.backups, where)) as Backup;
  expect(running.status?.phase).toBe("InProgress");
  await kubectl(cluster, ["exec", "-n", namespace.name, "p", "--", "touch", "/data/go"]);
  const { status } = await server.finished("killed");
  expect(status).toMatchObject({ phase: "Completed", hookStatus: { hooksAttempted: 1 } });
  expect(status?.startTimestamp).toBe(running.status?.startTimestamp);
  expect(await storedPods("killed")).toEqual(["p"]);
});

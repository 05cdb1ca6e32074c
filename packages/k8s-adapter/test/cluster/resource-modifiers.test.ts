import { KubeConfig } from "@kubernetes/client-node";
import { systemEnvironment } from "@varve/core";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { afterAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { CLAIMS } from "../../src/kube/core-types.ts";
import type { KubeObject, ResourceRef } from "../../src/kube/kube-api.ts";
import { openKubeApi } from "../../src/kube/kube-client.ts";
import { patchSchemas } from "../../src/kube/patch-schema.ts";
import { modify, parseResourceModifiers } from "../../src/restore/resource-modifiers.ts";
import { apply, k } from "./server.ts";

/** Strategic merge patches, beside those that the API server itself applies. */

const kubeConfig = new KubeConfig();
kubeConfig.loadFromString(cluster.kubeconfig);
const kube = openKubeApi(kubeConfig, { environment: systemEnvironment() });
afterAll(() => kube[Symbol.dispose]());
const schemaOf = patchSchemas(async (version, options) => await kube.openApi(version, options));

const DEPLOYMENTS: ResourceRef = {
  group: "apps",
  version: "v1",
  resource: "deployments",
  namespaced: true,
};
const SERVICES: ResourceRef = { ...CLAIMS, resource: "services" };

async function modified(object: KubeObject, patch: object): ReturnType<typeof modify> {
  const rules = {
    version: "v1",
    resourceModifierRules: [
      { conditions: { groupResource: "*" }, strategicPatches: [{ patchData: stringify(patch) }] },
    ],
  };
  const metadata = { name: "rules" };
  const modifiers = parseResourceModifiers({ metadata, data: { rules: stringify(rules) } });
  return await modify(modifiers, object, { groupResource: "*", namespace: undefined, schemaOf });
}

const template = (spec: object): object => ({ spec: { template: { spec } } });
const CASES: readonly (readonly [ResourceRef, object])[] = [
  [
    DEPLOYMENTS,
    template({
      containers: [
        { name: "new", image: "n" },
        { name: "b", image: "c" },
      ],
    }),
  ],
  [
    DEPLOYMENTS,
    template({
      containers: [
        {
          name: "a",
          env: [
            { name: "Z", value: "1" },
            { name: "X", value: null, valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          ],
        },
      ],
    }),
  ],
  [
    DEPLOYMENTS,
    template({ containers: [{ name: "a", $patch: "delete" }], tolerations: [{ key: "k" }] }),
  ],
  [DEPLOYMENTS, template({ containers: [{ $patch: "replace" }, { name: "only", image: "o" }] })],
  [
    DEPLOYMENTS,
    template({
      "$setElementOrder/containers": [{ name: "b" }, { name: "a" }],
      containers: [{ name: "b", image: "d" }],
    }),
  ],
  [
    DEPLOYMENTS,
    template({
      containers: [{ name: "a", args: ["x"], ports: [{ containerPort: 80, name: "web" }] }],
    }),
  ],
  [
    DEPLOYMENTS,
    template({
      volumes: [{ name: "v", $retainKeys: ["name", "configMap"], configMap: { name: "c" } }],
    }),
  ],
  [DEPLOYMENTS, template({ nodeSelector: { $patch: "replace", zone: "b" } })],
  [DEPLOYMENTS, { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } }],
  [DEPLOYMENTS, { metadata: { finalizers: ["example.org/c"], annotations: { a: null, b: "2" } } }],
  [DEPLOYMENTS, { metadata: { "$deleteFromPrimitiveList/finalizers": ["example.org/a"] } }],
  [
    SERVICES,
    {
      spec: {
        ports: [
          { port: 81, name: "more" },
          { port: 80, targetPort: 8080 },
        ],
      },
    },
  ],
];

test("strategic merge patches come out as on the API server, which refuses custom resources, too", async () => {
  await using own = await createNamespace("patches");
  const namespace = own.name;
  await apply(...objects(namespace));
  for (const [type, patch] of CASES) {
    const where = { namespace, name: "one" };
    const live = await kube.get(type, where);
    const args = ["patch", "-n", namespace, `${type.resource}/one`, "--type=strategic"];
    const told = await k(...args, "-p", JSON.stringify(patch), "--dry-run=server", "-o", "json");
    const { object, problems } = await modified(live, patch);
    expect(problems).toEqual([]);
    // What the server adds by itself, it adds to ours, too.
    const ours = await kube.replace(type, object, { dryRun: true });
    expect(plain(ours), JSON.stringify(patch)).toEqual(plain(JSON.parse(told)));
  }
  const free = { metadata: { finalizers: null } };
  await kube.mergePatch(DEPLOYMENTS, { namespace, name: "one" }, free);
  const custom = await kube.get(
    {
      ...CLAIMS,
      group: "snapshot.storage.k8s.io",
      resource: "volumesnapshotclasses",
      namespaced: false,
    },
    { name: "csi" },
  );
  const { object, problems } = await modified(custom, { deletionPolicy: "Retain" });
  expect(object).toBe(custom);
  expect(problems.join()).toContain("built-in types");
});

/** Without what each request changes. */
function plain({ metadata, spec }: KubeObject): object {
  const { labels, annotations, finalizers } = metadata;
  return { labels, annotations, finalizers, spec };
}

function objects(namespace: string): object[] {
  const labels = { app: "one" };
  const metadata = { name: "one", namespace, labels };
  const containers = [
    {
      name: "a",
      image: "x",
      env: [
        { name: "X", value: "1" },
        { name: "Y", value: "2" },
      ],
      args: ["1", "2"],
      ports: [{ containerPort: 80 }, { containerPort: 81 }],
    },
    { name: "b", image: "y" },
  ];
  return [
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: {
        ...metadata,
        annotations: { a: "1" },
        finalizers: ["example.org/a", "example.org/b"],
      },
      spec: {
        replicas: 0,
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } },
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers,
            nodeSelector: { disk: "ssd" },
            volumes: [
              { name: "u", emptyDir: {} },
              { name: "v", emptyDir: {} },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        selector: labels,
        ports: [
          { name: "web", port: 80 },
          { name: "other", port: 82 },
        ],
      },
    },
  ];
}

import { CONFIG_MAPS, STORAGE_CLASSES } from "../kube/core-types.ts";
import { isKubeError, type KubeObject, type ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { RelatedItem } from "../backup/action.ts";
import type { RestoreAction } from "./action.ts";

/** What is done to objects of well-known types before they are created: spec section 9.5. */
export function builtinRestoreActions(): readonly RestoreAction[] {
  return [
    podAction,
    claimAction,
    serviceAction,
    serviceAccountAction,
    secretAction,
    jobAction,
    bindingAction,
    apiServiceAction,
    storageClassAction,
    imageNameAction,
  ];
}

type Fields = Record<string, unknown>;

const ofTypes =
  (...names: readonly string[]) =>
  (type: ResourceType): boolean =>
    names.includes(groupResource(type));

/** A member that is an object, to read and change. */
function fieldsOf(holder: object | undefined, key: string): Fields {
  const value = (holder as Fields | undefined)?.[key];
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function listOf(holder: object | undefined, key: string): Fields[] {
  const value = (holder as Fields | undefined)?.[key];
  return Array.isArray(value) ? (value as Fields[]) : [];
}

const podAction: RestoreAction = {
  name: "velero.io/pod",
  appliesTo: ofTypes("pods"),
  async execute(_run, { object }) {
    const spec = fieldsOf(object, "spec");
    const { namespace } = object.metadata;
    delete spec["nodeName"];
    delete spec["priority"];
    const account =
      typeof spec["serviceAccountName"] === "string" ? spec["serviceAccountName"] : "";
    const isToken = ({ name }: Fields): boolean =>
      account !== "" && typeof name === "string" && name.startsWith(`${account}-token-`);
    const related: RelatedItem[] = [];
    const volumes = listOf(spec, "volumes").filter((volume) => !isToken(volume));
    if ("volumes" in spec) {
      spec["volumes"] = volumes;
    }
    for (const container of [...listOf(spec, "containers"), ...listOf(spec, "initContainers")]) {
      if ("volumeMounts" in container) {
        container["volumeMounts"] = listOf(container, "volumeMounts").filter(
          (mount) => !isToken(mount),
        );
      }
    }
    for (const volume of volumes) {
      const { claimName } = fieldsOf(volume, "persistentVolumeClaim");
      if (typeof claimName === "string") {
        related.push({ groupResource: "persistentvolumeclaims", namespace, name: claimName });
      }
    }
    if (typeof spec["priorityClassName"] === "string" && spec["priorityClassName"] !== "") {
      const name = spec["priorityClassName"];
      related.push({ groupResource: "priorityclasses.scheduling.k8s.io", name });
    }
    return { object, related };
  },
};

const CLAIM_ANNOTATIONS = [
  "pv.kubernetes.io/bind-completed",
  "pv.kubernetes.io/bound-by-controller",
  "volume.beta.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/selected-node",
  "velero.io/volume-snapshot-name",
  "velero.io/data-upload-name",
];

const claimAction: RestoreAction = {
  name: "velero.io/add-pv-from-pvc",
  appliesTo: ofTypes("persistentvolumeclaims"),
  async execute(_run, { object, fromBackup }) {
    const { annotations = {} } = object.metadata;
    for (const key of CLAIM_ANNOTATIONS) {
      delete annotations[key];
    }
    const { volumeName } = fieldsOf(fromBackup, "spec");
    const isBound = fieldsOf(fromBackup, "status")["phase"] === "Bound";
    return isBound && typeof volumeName === "string" && volumeName !== ""
      ? { object, related: [{ groupResource: "persistentvolumes", name: volumeName }] }
      : { object };
  },
};

const serviceAction: RestoreAction = {
  name: "velero.io/service",
  appliesTo: ofTypes("services"),
  async execute({ restore }, { object, fromBackup }) {
    const spec = fieldsOf(object, "spec");
    if (spec["clusterIP"] !== "None") {
      delete spec["clusterIP"];
      delete spec["clusterIPs"];
    }
    if (restore.spec.preserveNodePorts !== true) {
      const named = namedNodePorts(fromBackup);
      for (const port of listOf(spec, "ports")) {
        if (!named.ports.has(portKey(port)) && !named.numbers.has(Number(port["nodePort"]))) {
          delete port["nodePort"];
        }
      }
      if (!named.healthCheck) {
        delete spec["healthCheckNodePort"];
      }
    }
    return { object };
  },
};

function portKey({ name, port, protocol }: Fields): string {
  return `${typeof name === "string" ? name : ""}/${Number(port)}/${typeof protocol === "string" ? protocol : "TCP"}`;
}

/** Ports that a person has chosen: in what was last applied, or by a field manager other than the API server's defaults. */
function namedNodePorts({ metadata }: KubeObject): {
  readonly ports: ReadonlySet<string>;
  readonly numbers: ReadonlySet<number>;
  readonly healthCheck: boolean;
} {
  const ports = new Set<string>();
  const numbers = new Set<number>();
  let healthCheck = false;
  const applied = metadata.annotations?.["kubectl.kubernetes.io/last-applied-configuration"];
  if (applied !== undefined) {
    const spec = fieldsOf(parsed(applied), "spec");
    healthCheck = "healthCheckNodePort" in spec;
    for (const port of listOf(spec, "ports").filter((found) => "nodePort" in found)) {
      numbers.add(Number(port["nodePort"]));
    }
    return { ports, numbers, healthCheck };
  }
  for (const manager of metadata.managedFields ?? []) {
    const spec = fieldsOf(fieldsOf(manager as object, "fieldsV1"), "f:spec");
    healthCheck ||= "f:healthCheckNodePort" in spec;
    for (const [key, fields] of Object.entries(fieldsOf(spec, "f:ports"))) {
      if (typeof fields === "object" && fields !== null && "f:nodePort" in fields) {
        const { name, port, protocol } = parsed(key.replace(/^k:/, "")) as Fields;
        ports.add(portKey({ name, port, protocol }));
      }
    }
  }
  return { ports, numbers, healthCheck };
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {}; // somebody else's annotation
  }
}

const serviceAccountAction: RestoreAction = {
  name: "velero.io/service-account",
  appliesTo: ofTypes("serviceaccounts"),
  async execute(_run, { object }) {
    const prefix = `${object.metadata.name}-token-`;
    const secrets = listOf(object, "secrets");
    const made = secrets.findIndex(
      ({ name }) => typeof name === "string" && name.startsWith(prefix),
    );
    if (made >= 0) {
      object["secrets"] = secrets.filter((_secret, index) => index !== made);
    }
    return { object };
  },
};

const SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name";

/** Tokens of service accounts: the cluster makes its own. */
const secretAction: RestoreAction = {
  name: "velero.io/secret",
  appliesTo: ofTypes("secrets"),
  async execute(_run, { object }) {
    if (object["type"] !== "kubernetes.io/service-account-token") {
      return { object };
    }
    const { annotations = {}, name } = object.metadata;
    const account = annotations[SERVICE_ACCOUNT_NAME];
    if (account !== undefined && name.startsWith(`${account}-token-`)) {
      return { object, skip: true };
    }
    delete annotations["kubernetes.io/service-account.uid"];
    const data = fieldsOf(object, "data");
    delete data["token"];
    delete data["ca.crt"];
    return { object };
  },
};

const CONTROLLER_UIDS = ["controller-uid", "batch.kubernetes.io/controller-uid"];

const jobAction: RestoreAction = {
  name: "velero.io/job",
  appliesTo: ofTypes("jobs.batch"),
  async execute(_run, { object }) {
    const spec = fieldsOf(object, "spec");
    const labels = [
      fieldsOf(fieldsOf(spec, "selector"), "matchLabels"),
      fieldsOf(fieldsOf(fieldsOf(spec, "template"), "metadata"), "labels"),
    ];
    for (const holder of labels) {
      for (const key of CONTROLLER_UIDS) {
        delete holder[key];
      }
    }
    return { object };
  },
};

const bindingAction: RestoreAction = {
  name: "velero.io/role-bindings",
  appliesTo: ofTypes(
    "rolebindings.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
  ),
  async execute({ restore }, { object }) {
    const mapping = restore.spec.namespaceMapping ?? {};
    for (const subject of listOf(object, "subjects")) {
      const { namespace } = subject;
      if (typeof namespace === "string" && mapping[namespace] !== undefined) {
        subject["namespace"] = mapping[namespace];
      }
    }
    return { object };
  },
};

const apiServiceAction: RestoreAction = {
  name: "velero.io/apiservice",
  appliesTo: ofTypes("apiservices.apiregistration.k8s.io"),
  async execute(_run, { object }) {
    const made = object.metadata.labels?.["kube-aggregator.kubernetes.io/automanaged"];
    return { object, skip: made !== undefined };
  },
};

/** The `data` of the ConfigMap that configures an action; undefined when there is none. */
async function configOf(
  { kube, namespace }: Parameters<RestoreAction["execute"]>[0]["context"],
  action: string,
  signal: AbortSignal | undefined,
): Promise<Readonly<Record<string, string>> | undefined> {
  const labelSelector = `velero.io/plugin-config,${action}=RestoreItemAction`;
  const { items } = await kube.listAll(CONFIG_MAPS, { namespace, labelSelector, signal });
  const [first] = items as readonly { data?: Record<string, string> }[];
  return first?.data;
}

const storageClassAction: RestoreAction = {
  name: "velero.io/change-storage-class",
  appliesTo: ofTypes("persistentvolumeclaims", "persistentvolumes", "statefulsets.apps"),
  async execute({ context }, { object }, { signal }) {
    const mapping = await configOf(context, "velero.io/change-storage-class", signal);
    const spec = fieldsOf(object, "spec");
    const templates = listOf(spec, "volumeClaimTemplates").map((template) =>
      fieldsOf(template, "spec"),
    );
    for (const holder of mapping === undefined ? [] : [spec, ...templates]) {
      const old = holder["storageClassName"];
      const name = typeof old === "string" ? mapping?.[old] : undefined;
      if (name !== undefined) {
        await context.kube.get(STORAGE_CLASSES, { name }, { signal }).catch((error: unknown) => {
          throw isKubeError(error, "not-found")
            ? new Error(`there is no storage class ${name}, which ${String(old)} is to become`)
            : error;
        });
        holder["storageClassName"] = name;
      }
    }
    return { object };
  },
};

const imageNameAction: RestoreAction = {
  name: "velero.io/change-image-name",
  appliesTo: ofTypes(
    "pods",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "replicationcontrollers",
    "jobs.batch",
    "cronjobs.batch",
  ),
  async execute({ context }, { object }, { signal }) {
    const config = await configOf(context, "velero.io/change-image-name", signal);
    const rules = Object.values(config ?? {}).flatMap((rule) => {
      const [from = "", to = ""] = rule.split(",").map((part) => part.trim());
      return from === "" ? [] : [{ from, to }];
    });
    for (const spec of rules.length === 0 ? [] : podSpecs(object)) {
      for (const container of [...listOf(spec, "containers"), ...listOf(spec, "initContainers")]) {
        const { image } = container;
        const rule = rules.find(({ from }) => typeof image === "string" && image.includes(from));
        if (rule !== undefined) {
          container["image"] = String(image).replace(rule.from, () => rule.to);
        }
      }
    }
    return { object };
  },
};

/** The pod's own, or that of the template at whatever depth the kind has it. */
function podSpecs(object: KubeObject): Fields[] {
  const spec = fieldsOf(object, "spec");
  const ofTemplate = (holder: Fields): Fields => fieldsOf(fieldsOf(holder, "template"), "spec");
  const ofCronJob = fieldsOf(fieldsOf(spec, "jobTemplate"), "spec");
  return [spec, ofTemplate(spec), ofTemplate(ofCronJob)].filter((found) => "containers" in found);
}

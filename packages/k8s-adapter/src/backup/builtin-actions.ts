import type { CallOptions } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import type { BackupAction, BackupRun, RelatedItem } from "./action.ts";
import { podClaims } from "./volume-choice.ts";

/** What is done to claims, pods and service accounts before they are stored (semantics spec section 2.5). */

/** An action asks for its related items whatever the filters say; never stored. */
export const MUST_INCLUDE = "backup.velero.io/must-include-additional-items";
/** An action asks that its object be left out. */
export const SKIP_ITEM = "velero.io/skip-from-backup";

/** The actions that need nothing but the API server. */
export function builtinBackupActions(): readonly BackupAction[] {
  return [claimAction, podAction, serviceAccountAction()];
}

const ofType =
  (name: string) =>
  (type: ResourceType): boolean =>
    groupResource(type) === name;

interface ClaimSpec {
  volumeName?: string;
  storageClassName?: string;
  selector?: { matchLabels?: Record<string, string>; matchExpressions?: unknown[] };
  dataSource?: unknown;
  dataSourceRef?: unknown;
}

/** A bound claim: what led to its volume is no longer needed, and would hinder a restore; its volume comes with it. */
const claimAction: BackupAction = {
  name: "velero.io/pv",
  appliesTo: ofType("persistentvolumeclaims"),
  execute(run, { object }) {
    const spec = (object["spec"] ?? {}) as ClaimSpec; // the API server's schema
    const status = object["status"] as { phase?: string } | undefined;
    if (status?.phase !== "Bound" || spec.volumeName === undefined || spec.volumeName === "") {
      return Promise.resolve({ object });
    }
    delete spec.dataSource;
    delete spec.dataSourceRef;
    // An empty class with a selector was bound by hand; it will be again (spec 2.5).
    if (spec.storageClassName !== "") {
      delete spec.selector;
    } else if (spec.selector?.matchLabels !== undefined) {
      dropKeys(spec.selector.matchLabels, (key) => key.startsWith("velero.io/"));
    }
    dropStale(object, run);
    return Promise.resolve({
      object,
      related: [{ groupResource: "persistentvolumes", name: spec.volumeName }],
    });
  },
};

/** Labels that an earlier restore left. */
function dropStale({ metadata }: KubeObject, { backup }: BackupRun): void {
  dropKeys(
    metadata.labels ?? {},
    (key, value) =>
      key === LABEL.restoreName ||
      key === "velero.io/volume-snapshot-name" ||
      key === MUST_INCLUDE ||
      (key === LABEL.backupName && value !== labelValue(backup.metadata.name)),
  );
}

function dropKeys(
  map: Record<string, string>,
  unwanted: (key: string, value: string) => boolean,
): void {
  for (const [key, value] of Object.entries(map)) {
    if (unwanted(key, value)) {
      delete map[key];
    }
  }
}

const podAction: BackupAction = {
  name: "velero.io/pod",
  appliesTo: ofType("pods"),
  execute(_run, { object }) {
    const { namespace } = object.metadata;
    const spec = object["spec"] as { priorityClassName?: string } | undefined; // the API server's schema
    const priorityClass = spec?.priorityClassName ?? "";
    return Promise.resolve({
      object,
      related: [
        ...podClaims(object).map((name) => ({
          groupResource: "persistentvolumeclaims",
          namespace,
          name,
        })),
        ...(priorityClass === ""
          ? []
          : [{ groupResource: "priorityclasses.scheduling.k8s.io", name: priorityClass }]),
      ],
    });
  },
};

interface Binding extends KubeObject {
  roleRef?: { kind?: string; name?: string };
  subjects?: { kind?: string; namespace?: string; name?: string }[];
}

/** Cluster roles that are bound to a service account. */
function serviceAccountAction(): BackupAction {
  const bindingsOf = new WeakMap<BackupRun, Promise<readonly Binding[]>>(); // listed once a run
  return {
    name: "velero.io/service-account",
    appliesTo: ofType("serviceaccounts"),
    async execute(run, { object }, options) {
      const bindings = bindingsOf.get(run) ?? clusterRoleBindings(run, options);
      bindingsOf.set(run, bindings);
      return { object, related: (await bindings).flatMap((binding) => rolesOf(binding, object)) };
    },
  };
}

function rolesOf({ metadata, roleRef, subjects }: Binding, account: KubeObject): RelatedItem[] {
  const group = "rbac.authorization.k8s.io";
  const isSubject = (subjects ?? []).some(
    ({ kind, namespace, name }) =>
      kind === "ServiceAccount" &&
      namespace === account.metadata.namespace &&
      name === account.metadata.name,
  );
  return !isSubject
    ? []
    : [
        { groupResource: `clusterrolebindings.${group}`, name: metadata.name },
        ...(roleRef?.kind === "ClusterRole" && roleRef.name !== undefined
          ? [{ groupResource: `clusterroles.${group}`, name: roleRef.name }]
          : []),
      ];
}

async function clusterRoleBindings(
  { context }: BackupRun,
  options: CallOptions,
): Promise<readonly Binding[]> {
  const type = context.catalog.resolve("clusterrolebindings.rbac.authorization.k8s.io");
  const listed = type === undefined ? [] : (await context.kube.listAll(type, options)).items;
  return listed;
}

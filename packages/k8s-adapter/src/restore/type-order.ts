/** In which order types are restored: spec section 9.1. */

const HIGH = [
  "securitycontextconstraints.security.openshift.io",
  "customresourcedefinitions.apiextensions.k8s.io",
  "namespaces",
  "storageclasses.storage.k8s.io",
  "volumesnapshotclasses.snapshot.storage.k8s.io",
  "volumesnapshotcontents.snapshot.storage.k8s.io",
  "volumesnapshots.snapshot.storage.k8s.io",
  "datauploads.velero.io",
  "persistentvolumes",
  "persistentvolumeclaims",
  "clusterroles.rbac.authorization.k8s.io",
  "roles.rbac.authorization.k8s.io",
  "serviceaccounts",
  "clusterrolebindings.rbac.authorization.k8s.io",
  "rolebindings.rbac.authorization.k8s.io",
  "secrets",
  "configmaps",
  "limitranges",
  "priorityclasses.scheduling.k8s.io",
  "pods",
  "replicasets.apps",
  "clusterclasses.cluster.x-k8s.io",
  "endpoints",
  "services",
];
const LOW = [
  "clusterbootstraps.run.tanzu.vmware.com",
  "clusters.cluster.x-k8s.io",
  "clusterresourcesets.addons.cluster.x-k8s.io",
  "apps.kappctrl.k14s.io",
  "packageinstalls.packaging.carvel.dev",
];

/**
 * `setting` is empty for the order above, or `high,…,-,low,…`. Of types in neither list, the names decide. `canonical`
 * turns what people write in it into `resource.group`.
 */
export function inRestoreOrder(
  groupResources: readonly string[],
  setting: string,
  canonical: (name: string) => string,
): string[] {
  const { high, low } =
    setting.trim() === "" ? { high: HIGH, low: LOW } : parse(setting, canonical);
  const rank = (name: string): number => {
    const [first, last] = [high.indexOf(name), low.indexOf(name)];
    return first >= 0 ? first - high.length : last >= 0 ? last + 1 : 0;
  };
  return [...groupResources].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function parse(
  setting: string,
  canonical: (name: string) => string,
): { readonly high: string[]; readonly low: string[] } {
  const names = setting.split(",").map((name) => name.trim());
  const dash = names.indexOf("-");
  const of = (part: readonly string[]): string[] =>
    part.filter((name) => name !== "" && name !== "-").map(canonical);
  return dash < 0
    ? { high: of(names), low: [] }
    : { high: of(names.slice(0, dash)), low: of(names.slice(dash + 1)) };
}

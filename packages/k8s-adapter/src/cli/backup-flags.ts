import type { Command } from "commander";
import type { BackupSpec } from "../velero/resources.ts";
import { boolean, duration, list, map, ordered, orSelectors, selector } from "./flags.ts";

/** What to back up, and how: the same for a backup and for the template of a schedule. */
export function addBackupFlags(command: Command): Command {
  return command
    .option("--include-namespaces <names>", "patterns; default all", list)
    .option("--exclude-namespaces <names>", "patterns", list)
    .option("--include-resources <types>", "short or fully qualified names; default all", list)
    .option("--exclude-resources <types>", "short or fully qualified names", list)
    .option("--include-cluster-resources [boolean]", "cluster-scoped types, too", boolean)
    .option(
      "--include-cluster-scoped-resources <types>",
      "cannot stand beside the three above",
      list,
    )
    .option("--exclude-cluster-scoped-resources <types>", "likewise", list)
    .option("--include-namespace-scoped-resources <types>", "likewise", list)
    .option("--exclude-namespace-scoped-resources <types>", "likewise", list)
    .option("-l, --selector <selector>", "objects that have all of these labels", selector)
    .option(
      "--or-selector <selectors>",
      "objects that meet one, with ' or ' between them",
      orSelectors,
    )
    .option("--ordered-resources <order>", "kind=ns/a,ns/b;kind=…", ordered)
    .option("--storage-location <name>", "default: the default location")
    .option("--volume-snapshot-locations <names>", "for native snapshots", list)
    .option("--ttl <duration>", "how long it is kept", duration)
    .option("--snapshot-volumes [boolean]", "snapshots of volumes", boolean)
    .option("--snapshot-move-data [boolean]", "the data of snapshots into the location", boolean)
    .option("--default-volumes-to-fs-backup [boolean]", "volumes by their file system", boolean)
    .option("--csi-snapshot-timeout <duration>", "for a snapshot to be taken", duration)
    .option("--item-operation-timeout <duration>", "for what goes on after the objects", duration)
    .option("--resource-policies-configmap <name>", "which volume gets which treatment")
    .option("--parallel-files-upload <count>", "files of a volume at the same time", Number)
    .option("--data-mover <name>", "default: the built-in one")
    .option("--labels <labels>", "of the backup", map)
    .option("--annotations <annotations>", "of the backup", map);
}

export interface BackupFlags {
  readonly includeNamespaces?: string[];
  readonly excludeNamespaces?: string[];
  readonly includeResources?: string[];
  readonly excludeResources?: string[];
  readonly includeClusterResources?: boolean;
  readonly includeClusterScopedResources?: string[];
  readonly excludeClusterScopedResources?: string[];
  readonly includeNamespaceScopedResources?: string[];
  readonly excludeNamespaceScopedResources?: string[];
  readonly selector?: BackupSpec["labelSelector"];
  readonly orSelector?: BackupSpec["orLabelSelectors"];
  readonly orderedResources?: Record<string, string>;
  readonly storageLocation?: string;
  readonly volumeSnapshotLocations?: string[];
  readonly ttl?: string;
  readonly snapshotVolumes?: boolean;
  readonly snapshotMoveData?: boolean;
  readonly defaultVolumesToFsBackup?: boolean;
  readonly csiSnapshotTimeout?: string;
  readonly itemOperationTimeout?: string;
  readonly resourcePoliciesConfigmap?: string;
  readonly parallelFilesUpload?: number;
  readonly dataMover?: string;
}

export function backupSpec(flags: BackupFlags): BackupSpec {
  const policy = flags.resourcePoliciesConfigmap;
  return withoutUndefined({
    includedNamespaces: flags.includeNamespaces ?? ["*"],
    excludedNamespaces: flags.excludeNamespaces,
    includedResources: flags.includeResources,
    excludedResources: flags.excludeResources,
    includeClusterResources: flags.includeClusterResources,
    includedClusterScopedResources: flags.includeClusterScopedResources,
    excludedClusterScopedResources: flags.excludeClusterScopedResources,
    includedNamespaceScopedResources: flags.includeNamespaceScopedResources,
    excludedNamespaceScopedResources: flags.excludeNamespaceScopedResources,
    labelSelector: flags.selector,
    orLabelSelectors: flags.orSelector,
    orderedResources: flags.orderedResources,
    storageLocation: flags.storageLocation,
    volumeSnapshotLocations: flags.volumeSnapshotLocations,
    ttl: flags.ttl,
    snapshotVolumes: flags.snapshotVolumes,
    snapshotMoveData: flags.snapshotMoveData,
    defaultVolumesToFsBackup: flags.defaultVolumesToFsBackup,
    csiSnapshotTimeout: flags.csiSnapshotTimeout,
    itemOperationTimeout: flags.itemOperationTimeout,
    resourcePolicy: policy === undefined ? undefined : { kind: "configmap", name: policy },
    uploaderConfig:
      flags.parallelFilesUpload === undefined
        ? undefined
        : { parallelFilesUpload: flags.parallelFilesUpload },
    datamover: flags.dataMover,
  });
}

/** Members that were not asked for are left to the server. */
export function withoutUndefined<T extends object>(
  value: {
    readonly [K in keyof T]: T[K] | undefined;
  },
): T {
  const given = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(given) as T; // all that is left has its type
}

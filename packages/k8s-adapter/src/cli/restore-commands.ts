import type { Command } from "commander";
import { type Restore, VELERO } from "../velero/resources.ts";
import { withoutUndefined } from "./backup-flags.ts";
import { openCliContext } from "./context.ts";
import { download } from "./download.ts";
import { boolean, duration, list, map, mappings, orSelectors, selector } from "./flags.ts";
import { field } from "./print.ts";
import { addReadCommands } from "./resource-commands.ts";
import { waitForPhase } from "./wait.ts";

/** `varve-k8s restore …`, with the flags of `velero restore`. */
export function addRestoreCommands(program: Command): void {
  const group = program.command("restore").description("backups put back");
  group
    .command("create [name]")
    .description("restore a backup")
    .option("--from-backup <name>", "the backup")
    .option("--from-schedule <name>", "the last completed backup of a schedule")
    .option("--include-namespaces <names>", "default all", list)
    .option("--exclude-namespaces <names>", "patterns", list)
    .option("--namespace-mappings <pairs>", "old:new,…", mappings)
    .option("--include-resources <types>", "default all", list)
    .option("--exclude-resources <types>", "types", list)
    .option("--include-cluster-resources [boolean]", "cluster-scoped types, too", boolean)
    .option("-l, --selector <selector>", "objects that have all of these labels", selector)
    .option(
      "--or-selector <selectors>",
      "objects that meet one, with ' or ' between them",
      orSelectors,
    )
    .option("--restore-volumes [boolean]", "snapshots of volumes", boolean)
    .option("--preserve-nodeports [boolean]", "keep node ports", boolean)
    .option("--existing-resource-policy <policy>", "none or update")
    .option("--item-operation-timeout <duration>", "for what goes on after the objects", duration)
    .option("--status-include-resources <types>", "restore the status of these", list)
    .option("--status-exclude-resources <types>", "but not of these", list)
    .option("--resource-modifier-configmap <name>", "changes on the way")
    .option("--write-sparse-files [boolean]", "leave blocks of zeros out", boolean)
    .option("--parallel-files-download <count>", "files of a volume at the same time", Number)
    .option("--labels <labels>", "of the restore", map)
    .option("-w, --wait", "until it has ended")
    .action(async (given: string | undefined, flags: RestoreFlags, command: Command) => {
      using context = openCliContext(command);
      const { kube, namespace, environment, print } = context;
      const source = flags.fromBackup ?? flags.fromSchedule;
      if (source === undefined) {
        command.error("--from-backup or --from-schedule is needed");
      }
      const stamp = new Date(environment.nowMs()).toISOString().replaceAll(/\D/g, "").slice(0, 14);
      const name = given ?? `${source}-${stamp}`;
      const restore: Restore = {
        apiVersion: "velero.io/v1",
        kind: "Restore",
        metadata: { name, namespace, labels: flags.labels ?? {} },
        spec: restoreSpec(flags),
      };
      await kube.create(VELERO.restores, restore);
      print(`Restore request "${name}" submitted successfully.`);
      if (flags.wait === true) {
        await waitForPhase(context, VELERO.restores, name);
      }
    });
  addRestOfRestores(group);
}

/** What is done with restores that are there. */
function addRestOfRestores(group: Command): void {
  addReadCommands(group, {
    type: VELERO.restores,
    noun: "restores",
    columns: [
      { title: "NAME", value: field("metadata", "name") },
      { title: "BACKUP", value: field("spec", "backupName") },
      { title: "STATUS", value: field("status", "phase") },
      { title: "STARTED", value: field("status", "startTimestamp") },
      { title: "COMPLETED", value: field("status", "completionTimestamp") },
      { title: "ERRORS", value: (restore) => field("status", "errors")(restore) ?? 0 },
      { title: "WARNINGS", value: (restore) => field("status", "warnings")(restore) ?? 0 },
    ],
  });
  group
    .command("delete <names...>")
    .description("delete restores and their logs; what they have restored stays")
    .requiredOption("--confirm", "yes, really")
    .action(async (names: string[], _flags: object, command: Command) => {
      using context = openCliContext(command);
      for (const name of names) {
        await context.kube.delete(VELERO.restores, { namespace: context.namespace, name });
        context.print(`Request to delete restore "${name}" submitted successfully.`);
      }
    });
  group
    .command("logs <name>")
    .description("what happened")
    .action(async (name: string, _flags: object, command: Command) => {
      using context = openCliContext(command);
      await download(context, { kind: "RestoreLog", name, unpack: true });
    });
}

interface RestoreFlags {
  readonly fromBackup?: string;
  readonly fromSchedule?: string;
  readonly includeNamespaces?: string[];
  readonly excludeNamespaces?: string[];
  readonly namespaceMappings?: Record<string, string>;
  readonly includeResources?: string[];
  readonly excludeResources?: string[];
  readonly includeClusterResources?: boolean;
  readonly selector?: Restore["spec"]["labelSelector"];
  readonly orSelector?: Restore["spec"]["orLabelSelectors"];
  readonly restoreVolumes?: boolean;
  readonly preserveNodeports?: boolean;
  readonly existingResourcePolicy?: string;
  readonly itemOperationTimeout?: string;
  readonly statusIncludeResources?: string[];
  readonly statusExcludeResources?: string[];
  readonly resourceModifierConfigmap?: string;
  readonly writeSparseFiles?: boolean;
  readonly parallelFilesDownload?: number;
  readonly labels?: Record<string, string>;
  readonly wait?: boolean;
}

function restoreSpec(flags: RestoreFlags): Restore["spec"] {
  const modifier = flags.resourceModifierConfigmap;
  const status = [flags.statusIncludeResources, flags.statusExcludeResources];
  const uploader = withoutUndefined<NonNullable<Restore["spec"]["uploaderConfig"]>>({
    writeSparseFiles: flags.writeSparseFiles,
    parallelFilesDownload: flags.parallelFilesDownload,
  });
  return withoutUndefined({
    backupName: flags.fromBackup,
    scheduleName: flags.fromSchedule,
    includedNamespaces: flags.includeNamespaces,
    excludedNamespaces: flags.excludeNamespaces,
    namespaceMapping: flags.namespaceMappings,
    includedResources: flags.includeResources,
    excludedResources: flags.excludeResources,
    includeClusterResources: flags.includeClusterResources,
    labelSelector: flags.selector,
    orLabelSelectors: flags.orSelector,
    restorePVs: flags.restoreVolumes,
    preserveNodePorts: flags.preserveNodeports,
    existingResourcePolicy: flags.existingResourcePolicy,
    itemOperationTimeout: flags.itemOperationTimeout,
    restoreStatus: status.every((list) => list === undefined)
      ? undefined
      : withoutUndefined({ includedResources: status[0], excludedResources: status[1] }),
    resourceModifier: modifier === undefined ? undefined : { kind: "configmap", name: modifier },
    uploaderConfig: Object.keys(uploader).length === 0 ? undefined : uploader,
  });
}

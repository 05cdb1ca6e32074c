import type { Command } from "commander";
import { type Backup, type Schedule, VELERO } from "../velero/resources.ts";
import { addBackupFlags, type BackupFlags, backupSpec } from "./backup-flags.ts";
import { openCliContext } from "./context.ts";
import { download } from "./download.ts";
import { field } from "./print.ts";
import { addReadCommands } from "./resource-commands.ts";
import { waitForPhase } from "./wait.ts";

/** `varve-k8s backup …`, with the flags of `velero backup`. */
export function addBackupCommands(program: Command): void {
  const group = program.command("backup").description("backups of objects and volumes");
  addBackupFlags(group.command("create <name>").description("make a backup"))
    .option("--from-schedule <name>", "with the template of a schedule")
    .option("-w, --wait", "until it has ended")
    .action(async (name: string, flags: CreateFlags, command: Command) => {
      using context = openCliContext(command);
      const { kube, namespace, print } = context;
      const backup: Backup = {
        apiVersion: "velero.io/v1",
        kind: "Backup",
        metadata: {
          name,
          namespace,
          labels: flags.labels ?? {},
          annotations: flags.annotations ?? {},
        },
        spec: backupSpec(flags),
      };
      if (flags.fromSchedule !== undefined) {
        const where = { namespace, name: flags.fromSchedule };
        const schedule = (await kube.get(VELERO.schedules, where)) as Schedule; // its schema
        backup.spec = schedule.spec.template;
        backup.metadata.labels = {
          ...(schedule.spec.template.metadata?.labels ?? schedule.metadata.labels),
          "velero.io/schedule-name": flags.fromSchedule,
          ...flags.labels,
        };
      }
      await kube.create(VELERO.backups, backup);
      print(`Backup request "${name}" submitted successfully.`);
      if (flags.wait === true) {
        await waitForPhase(context, VELERO.backups, name);
      }
    });
  addReadCommands(group, {
    type: VELERO.backups,
    noun: "backups",
    columns: [
      { title: "NAME", value: field("metadata", "name") },
      { title: "STATUS", value: field("status", "phase") },
      { title: "ERRORS", value: (backup) => field("status", "errors")(backup) ?? 0 },
      { title: "WARNINGS", value: (backup) => field("status", "warnings")(backup) ?? 0 },
      { title: "CREATED", value: field("metadata", "creationTimestamp") },
      { title: "EXPIRES", value: field("status", "expiration") },
      { title: "STORAGE LOCATION", value: field("spec", "storageLocation") },
    ],
  });
  addRestOfBackup(group);
}

/** What is done with backups that are there. */
function addRestOfBackup(group: Command): void {
  group
    .command("delete <names...>")
    .description("delete backups with everything that they have stored: this cannot be undone")
    .requiredOption("--confirm", "yes, really")
    .action(async (names: string[], _flags: object, command: Command) => {
      using context = openCliContext(command);
      const { kube, namespace, print } = context;
      for (const name of names) {
        const { metadata } = await kube.get(VELERO.backups, { namespace, name });
        await kube.create(VELERO.deleteBackupRequests, {
          apiVersion: "velero.io/v1",
          kind: "DeleteBackupRequest",
          metadata: {
            name: "",
            generateName: `${name}-`,
            namespace,
            labels: { "velero.io/backup-uid": metadata.uid ?? "" },
          },
          spec: { backupName: name },
        });
        print(`Request to delete backup "${name}" submitted successfully.`);
      }
    });
  group
    .command("logs <name>")
    .description("what happened")
    .action(async (name: string, _flags: object, command: Command) => {
      using context = openCliContext(command);
      await download(context, { kind: "BackupLog", name, unpack: true });
    });
  group
    .command("download <name>")
    .description("the objects, as a tarball")
    .option("-o, --output <file>", "default: NAME-data.tar.gz")
    .action(async (name: string, { output }: { output?: string }, command: Command) => {
      using context = openCliContext(command);
      const file = output ?? `${name}-data.tar.gz`;
      await download(context, { kind: "BackupContents", name, unpack: false, file });
      context.print(`Backup ${name} has been successfully downloaded to ${file}`);
    });
}

interface CreateFlags extends BackupFlags {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly fromSchedule?: string;
  readonly wait?: boolean;
}

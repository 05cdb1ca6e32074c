import type { Command } from "commander";
import { type Schedule, VELERO } from "../velero/resources.ts";
import { addBackupFlags, type BackupFlags, backupSpec } from "./backup-flags.ts";
import { openCliContext } from "./context.ts";
import { boolean } from "./flags.ts";
import { field } from "./print.ts";
import { addReadCommands } from "./resource-commands.ts";

/** `varve-k8s schedule …`, with the flags of `velero schedule`. */
export function addScheduleCommands(program: Command): void {
  const group = program.command("schedule").description("backups at set times");
  addBackupFlags(group.command("create <name>").description("make a schedule"))
    .requiredOption("--schedule <cron>", "five fields, or @daily, @every 6h, …")
    .option("--paused", "not yet")
    .option("--skip-immediately [boolean]", "not at once where one is due already", boolean)
    .option("--use-owner-references-in-backup [boolean]", "backups go with the schedule", boolean)
    .action(async (name: string, flags: ScheduleFlags, command: Command) => {
      using context = openCliContext(command);
      const { namespace } = context;
      const schedule: Schedule = {
        apiVersion: "velero.io/v1",
        kind: "Schedule",
        metadata: {
          name,
          namespace,
          labels: flags.labels ?? {},
          annotations: flags.annotations ?? {},
        },
        spec: {
          schedule: flags.schedule,
          template: backupSpec(flags),
          ...(flags.paused === true ? { paused: true } : {}),
          ...(flags.skipImmediately === undefined
            ? {}
            : { skipImmediately: flags.skipImmediately }),
          ...(flags.useOwnerReferencesInBackup === undefined
            ? {}
            : { useOwnerReferencesInBackup: flags.useOwnerReferencesInBackup }),
        },
      };
      await context.kube.create(VELERO.schedules, schedule);
      context.print(`Schedule "${name}" created successfully.`);
    });
  addRestOfSchedules(group);
}

/** What is done with schedules that are there. */
function addRestOfSchedules(group: Command): void {
  addReadCommands(group, {
    type: VELERO.schedules,
    noun: "schedules",
    columns: [
      { title: "NAME", value: field("metadata", "name") },
      { title: "STATUS", value: field("status", "phase") },
      { title: "CREATED", value: field("metadata", "creationTimestamp") },
      { title: "SCHEDULE", value: field("spec", "schedule") },
      { title: "LAST BACKUP", value: field("status", "lastBackup") },
      { title: "PAUSED", value: (schedule) => field("spec", "paused")(schedule) ?? false },
    ],
  });
  for (const [verb, paused] of [
    ["pause", true],
    ["unpause", false],
  ] as const) {
    group
      .command(`${verb} <names...>`)
      .description(paused ? "make no backups for now" : "make backups again")
      .action(async (names: string[], _flags: object, command: Command) => {
        using context = openCliContext(command);
        const { namespace } = context;
        for (const name of names) {
          await context.kube.mergePatch(
            VELERO.schedules,
            { namespace, name },
            { spec: { paused } },
          );
          context.print(`Schedule ${name} ${verb}d successfully`);
        }
      });
  }
  group
    .command("delete <names...>")
    .description("delete schedules; their backups stay")
    .requiredOption("--confirm", "yes, really")
    .action(async (names: string[], _flags: object, command: Command) => {
      using context = openCliContext(command);
      for (const name of names) {
        await context.kube.delete(VELERO.schedules, { namespace: context.namespace, name });
        context.print(`Schedule deleted: ${name}`);
      }
    });
}

interface ScheduleFlags extends BackupFlags {
  readonly schedule: string;
  readonly paused?: boolean;
  readonly skipImmediately?: boolean;
  readonly useOwnerReferencesInBackup?: boolean;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

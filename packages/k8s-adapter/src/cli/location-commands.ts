import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { type BackupStorageLocation, VELERO } from "../velero/resources.ts";
import { openCliContext } from "./context.ts";
import { boolean, duration, map, secretKey } from "./flags.ts";
import { field } from "./print.ts";
import { addReadCommands } from "./resource-commands.ts";

/** `varve-k8s backup-location …`, with the flags of `velero backup-location`. */
export function addLocationCommands(program: Command): void {
  const group = program.command("backup-location").description("where backups are kept");
  group
    .command("create <name>")
    .description("make a location")
    .requiredOption("--provider <name>", "aws, azure, gcp or velero.io/fs")
    .requiredOption("--bucket <name>", "bucket or container")
    .option("--prefix <prefix>", "below which everything lies")
    .option("--config <pairs>", "key=value of the provider, as region=…,s3Url=…", map)
    .option("--credential <secret=key>", "default: cloud-credentials=cloud", secretKey)
    .option("--cacert <file>", "certificates to trust, PEM")
    .option("--default", "for backups that name none")
    .option("--backup-sync-period <duration>", "between looks for backups of others", duration)
    .option("--validation-frequency <duration>", "between looks whether it can be used", duration)
    .addOption(new Option("--access-mode <mode>", "").choices(["ReadWrite", "ReadOnly"]))
    .action(async (name: string, flags: LocationFlags, command: Command) => {
      using context = openCliContext(command);
      const { namespace } = context;
      const location: BackupStorageLocation = {
        apiVersion: "velero.io/v1",
        kind: "BackupStorageLocation",
        metadata: { name, namespace },
        spec: {
          provider: flags.provider,
          objectStorage: {
            bucket: flags.bucket,
            ...(flags.prefix === undefined ? {} : { prefix: flags.prefix }),
            ...(flags.cacert === undefined
              ? {}
              : { caCert: readFileSync(flags.cacert).toString("base64") }),
          },
          ...(flags.config === undefined ? {} : { config: flags.config }),
          ...(flags.credential === undefined ? {} : { credential: flags.credential }),
          ...(flags.default === true ? { default: true } : {}),
          ...(flags.accessMode === undefined ? {} : { accessMode: flags.accessMode }),
          ...(flags.backupSyncPeriod === undefined
            ? {}
            : { backupSyncPeriod: flags.backupSyncPeriod }),
          ...(flags.validationFrequency === undefined
            ? {}
            : { validationFrequency: flags.validationFrequency }),
        },
      };
      await context.kube.create(VELERO.backupStorageLocations, location);
      context.print(`Backup storage location "${name}" configured successfully.`);
    });
  addRestOfLocations(group);
}

/** What is done with locations that are there. */
function addRestOfLocations(group: Command): void {
  addReadCommands(group, {
    type: VELERO.backupStorageLocations,
    noun: "backup storage locations",
    columns: [
      { title: "NAME", value: field("metadata", "name") },
      { title: "PROVIDER", value: field("spec", "provider") },
      { title: "BUCKET", value: field("spec", "objectStorage", "bucket") },
      { title: "PREFIX", value: field("spec", "objectStorage", "prefix") },
      { title: "PHASE", value: field("status", "phase") },
      { title: "LAST VALIDATED", value: field("status", "lastValidationTime") },
      {
        title: "ACCESS MODE",
        value: (location) => field("spec", "accessMode")(location) ?? "ReadWrite",
      },
      { title: "DEFAULT", value: field("spec", "default") },
    ],
  });
  group
    .command("set <name>")
    .description("change a location")
    .option("--default [boolean]", "for backups that name none", boolean)
    .option("--credential <secret=key>", "another secret", secretKey)
    .action(async (name: string, flags: Partial<LocationFlags>, command: Command) => {
      using context = openCliContext(command);
      const { namespace } = context;
      const patch = {
        ...(flags.default === undefined ? {} : { default: flags.default }),
        ...(flags.credential === undefined ? {} : { credential: flags.credential }),
      };
      const where = { namespace, name };
      await context.kube.mergePatch(VELERO.backupStorageLocations, where, { spec: patch });
      context.print(`Backup storage location "${name}" configured successfully.`);
    });
  group
    .command("delete <names...>")
    .description("forget locations; what lies in their buckets stays")
    .requiredOption("--confirm", "yes, really")
    .action(async (names: string[], _flags: object, command: Command) => {
      using context = openCliContext(command);
      const { namespace } = context;
      for (const name of names) {
        await context.kube.delete(VELERO.backupStorageLocations, { namespace, name });
        context.print(`Backup storage location "${name}" deleted successfully.`);
      }
    });
}

interface LocationFlags {
  readonly provider: string;
  readonly bucket: string;
  readonly prefix?: string;
  readonly config?: Record<string, string>;
  readonly credential?: { name: string; key: string };
  readonly cacert?: string;
  readonly default?: boolean;
  readonly backupSyncPeriod?: string;
  readonly validationFrequency?: string;
  readonly accessMode?: "ReadWrite" | "ReadOnly";
}

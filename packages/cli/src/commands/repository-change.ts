import { access } from "node:fs/promises";
import {
  changePassword,
  type ParameterChanges,
  readRepositoryFormat,
  type RepositoryFormat,
  type RequiredFeature,
  setParameters,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { passwordFile } from "../connection.ts";
import { cliEnvironment, withStore } from "../context.ts";
import { collect, parseCount, parseDurationMs } from "../options.ts";
import { printLine } from "../output.ts";
import { chooseNewPassword, findPassword, keepPassword } from "../password.ts";
import { addRetentionOptions, mebibytes, retentionOf } from "./repository-connect.ts";

/** `repository change-password` and `set-parameters`. */

export async function changeRepositoryPassword(command: Command): Promise<void> {
  await withStore(command, { readOnly: false }, async (store, { globals, signal }) => {
    const password = await findPassword(globals);
    await readRepositoryFormat(store, { password, signal }); // before anybody thinks of a new one
    const given = command.opts<{ newPassword?: string; newPasswordFile?: string }>();
    const newPassword = await chooseNewPassword({
      given: given.newPassword,
      file: given.newPasswordFile,
      environment: process.env["VARVE_NEW_PASSWORD"] || undefined,
    });
    await changePassword(store, { password, newPassword, environment: cliEnvironment(), signal });
    if (await exists(passwordFile(globals.configFile))) {
      await keepPassword(globals.configFile, newPassword);
    }
    printLine("The password has been changed.");
  });
}

interface ParameterOptions {
  readonly maxPackSizeMb?: number;
  readonly indexVersion?: number;
  readonly retentionMode?: "none" | "governance" | "compliance" | "locked";
  readonly retentionPeriod?: number;
  readonly epochRefreshFrequency?: number;
  readonly epochMinDuration?: number;
  readonly epochCleanupSafetyMargin?: number;
  readonly epochAdvanceOnCount?: number;
  readonly epochAdvanceOnSizeMb?: number;
  readonly epochDeleteParallelism?: number;
  readonly epochCheckpointFrequency?: number;
  readonly addRequiredFeature?: readonly string[];
  readonly removeRequiredFeature?: readonly string[];
  readonly warnOnMissingRequiredFeature?: boolean;
}

export function addParameterOptions(command: Command): void {
  command
    .option("--max-pack-size-mb <n>", "size of packs in MiB, 10 to 120", parseCount)
    .option("--index-version <n>", "version of new index files, 1 or 2", parseCount);
  addRetentionOptions(command);
  command
    .option(
      "--epoch-refresh-frequency <duration>",
      "clients look for new epochs this often",
      parseDurationMs,
    )
    .option("--epoch-min-duration <duration>", "an epoch lasts at least this long", parseDurationMs)
    .option(
      "--epoch-cleanup-safety-margin <duration>",
      "age of replaced index blobs when they are deleted",
      parseDurationMs,
    )
    .option("--epoch-advance-on-count <n>", "index blobs that end an epoch", parseCount)
    .option("--epoch-advance-on-size-mb <n>", "MiB of index blobs that end an epoch", parseCount)
    .option("--epoch-delete-parallelism <n>", "index blobs deleted at once", parseCount)
    .option("--epoch-checkpoint-frequency <n>", "epochs that are compacted into one", parseCount)
    .addOption(hidden("--add-required-feature <name>", "refuse clients without this feature"))
    .addOption(hidden("--remove-required-feature <name>", "no longer ask for this feature"))
    .addOption(
      new Option("--warn-on-missing-required-feature", "only warn such clients").hideHelp(),
    );
}

function hidden(flags: string, description: string): Option {
  return new Option(flags, description).argParser(collect).hideHelp();
}

export async function changeParameters(command: Command): Promise<void> {
  const options = command.opts<ParameterOptions>();
  if (Object.keys(options).length === 0) {
    throw new VarveError("invalid-argument", "nothing to change was given; see --help");
  }
  await withStore(command, { readOnly: false }, async (store, { globals, signal }) => {
    const password = await findPassword(globals);
    const format = await readRepositoryFormat(store, { password, signal });
    const changes = changesOf(options, format);
    await setParameters(store, { password, environment: cliEnvironment(), changes, signal });
    printLine("The parameters have been changed. Other clients see them when they connect anew.");
  });
}

function changesOf(options: ParameterOptions, format: RepositoryFormat): ParameterChanges {
  const epochs = withoutUndefined({
    refreshFrequencyMs: options.epochRefreshFrequency,
    minEpochDurationMs: options.epochMinDuration,
    cleanupSafetyMarginMs: options.epochCleanupSafetyMargin,
    advanceOnCountThreshold: options.epochAdvanceOnCount,
    advanceOnTotalSizeBytesThreshold: mebibytes(options.epochAdvanceOnSizeMb),
    deleteParallelism: options.epochDeleteParallelism,
    fullCheckpointFrequency: options.epochCheckpointFrequency,
  });
  if (Object.keys(epochs).length > 0 && !format.epochs.enabled) {
    throw new VarveError("invalid-argument", "this repository has no epochs");
  }
  return {
    maxPackSizeBytes: mebibytes(options.maxPackSizeMb),
    indexVersion: options.indexVersion,
    retention: retentionOf({ ...options, current: format.retention }),
    epochs,
    requiredFeatures: featuresOf(options, format),
  };
}

function featuresOf(
  options: ParameterOptions,
  format: RepositoryFormat,
): readonly RequiredFeature[] | undefined {
  const { addRequiredFeature: added = [], removeRequiredFeature: removed = [] } = options;
  if (added.length + removed.length === 0) {
    return undefined;
  }
  const warnOnly = options.warnOnMissingRequiredFeature === true;
  return [
    ...format.requiredFeatures.filter(
      ({ feature }) => !removed.includes(feature) && !added.includes(feature),
    ),
    ...added.map((feature) => ({ feature, warnOnly, message: "" })),
  ];
}

function withoutUndefined<T extends object>(
  members: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const given = Object.entries(members).filter(([, value]) => value !== undefined);
  // the same members, without those that are undefined
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

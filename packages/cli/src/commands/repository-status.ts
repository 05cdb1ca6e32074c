import { effectivePolicy, GLOBAL_TARGET, listIndexBlobs, type Repository } from "@varve/core";
import type { Command } from "commander";
import type { Connection } from "../connection.ts";
import { type CommandContext, type UnlockedContext, withRepository } from "../context.ts";
import { formatBytes, formatDuration, printJson, printLine } from "../output.ts";
import { splitSecrets, storageType, withVariables } from "../storage.ts";
import { encodeToken } from "../token.ts";

/** `repository status`: no secret, in text and JSON alike, except in the token that was asked for. */
export async function status(command: Command): Promise<void> {
  await withRepository(command, { readOnly: true }, async (repository, context) => {
    const volume = await repository.blobs.capacity?.({ signal: context.signal });
    const options = command.opts<StatusOptions>();
    const token = tokenOf(context, options);
    if (options.json === true) {
      const reconnectToken = token === undefined ? {} : { reconnectToken: token };
      printJson({ ...statusJson(repository, context, volume), ...reconnectToken });
      return;
    }
    const { policy } = await effectivePolicy(repository, GLOBAL_TARGET, { signal: context.signal });
    const { writeEpoch } = await listIndexBlobs(repository, { signal: context.signal });
    printFacts(connectionFacts(context, repository, volume));
    printLine();
    printFacts(formatFacts(repository, policy.splitter?.algorithm));
    printLine();
    printFacts(epochFacts(repository, writeEpoch));
    if (token !== undefined) {
      printLine();
      printLine(
        "To connect another machine, with varve or with stock Kopia (which wants it after --token):",
      );
      printLine("varve repository connect from-config --token-stdin");
      printLine(token);
    }
  });
}

interface StatusOptions {
  readonly json?: boolean;
  readonly reconnectToken?: boolean;
  readonly reconnectTokenWithPassword?: boolean;
}

/** Without secrets the keys come from the other machine's environment, and the password from whoever knows it. */
function tokenOf(
  { connection, password }: UnlockedContext,
  { reconnectToken = false, reconnectTokenWithPassword = false }: StatusOptions,
): string | undefined {
  const { storage, throttlingLimits: limits } = connection;
  if (reconnectTokenWithPassword) {
    return encodeToken({ location: { ...withVariables(storage), limits }, password });
  }
  const config = splitSecrets(storage).visible;
  return reconnectToken
    ? encodeToken({ location: { type: storage.type, config, limits } })
    : undefined;
}

type Volume = { readonly sizeBytes: number; readonly freeBytes: number } | undefined;
type Facts = readonly (readonly [label: string, value: string | undefined])[];

/** Kopia's document; members that varve has no value for are left out. */
function statusJson(
  { format }: Repository,
  { globals, connection }: CommandContext,
  volume: Volume,
): object {
  const { ecc, retention, epochs } = format;
  return {
    configFile: globals.configFile,
    uniqueIDHex: hex(format.uniqueId),
    clientOptions: {
      hostname: connection.hostname,
      username: connection.username,
      description: descriptionOf(connection),
      readonly: connection.readOnly === true,
      enableActions: connection.enableActions === true,
    },
    storage: { type: connection.storage.type, config: splitSecrets(connection.storage).visible },
    ...(volume === undefined
      ? {}
      : { volume: { capacity: volume.sizeBytes, available: volume.freeBytes } }),
    contentFormat: {
      hash: format.hash,
      encryption: format.encryption,
      ...(ecc === undefined ? {} : { ecc: ecc.algorithm, eccOverheadPercent: ecc.overheadPercent }),
      version: format.version,
      maxPackSize: format.maxPackSize,
      indexVersion: format.indexVersion,
      epochParameters: {
        Enabled: epochs.enabled,
        EpochRefreshFrequency: nanoseconds(epochs.refreshFrequencyMs),
        FullCheckpointFrequency: epochs.fullCheckpointFrequency,
        CleanupSafetyMargin: nanoseconds(epochs.cleanupSafetyMarginMs),
        MinEpochDuration: nanoseconds(epochs.minEpochDurationMs),
        EpochAdvanceOnCountThreshold: epochs.advanceOnCountThreshold,
        EpochAdvanceOnTotalSizeBytesThreshold: epochs.advanceOnTotalSizeBytesThreshold,
        DeleteParallelism: epochs.deleteParallelism,
      },
      enablePasswordChange: format.enablePasswordChange,
      requiredFeatures: format.requiredFeatures.map(({ feature, warnOnly }) => ({
        feature,
        warnOnly,
      })),
    },
    objectFormat: { splitter: format.splitter },
    blobRetention:
      retention === undefined
        ? {}
        : { retentionMode: retention.mode, retentionPeriod: nanoseconds(retention.periodMs) },
  };
}

function connectionFacts(
  { globals, connection }: CommandContext,
  { format }: Repository,
  volume: Volume,
): Facts {
  return [
    ["Config file", globals.configFile],
    ["Description", descriptionOf(connection)],
    ["Hostname", connection.hostname],
    ["Username", connection.username],
    ["Read-only", String(connection.readOnly === true)],
    ["Actions of policies", connection.enableActions === true ? "run" : "not run"],
    ["Storage type", connection.storage.type],
    ["Storage capacity", volume && formatBytes(volume.sizeBytes)],
    ["Storage available", volume && formatBytes(volume.freeBytes)],
    ["Storage config", JSON.stringify(splitSecrets(connection.storage).visible)],
    ["Unique ID", hex(format.uniqueId)],
  ];
}

function formatFacts({ format }: Repository, policySplitter: string | undefined): Facts {
  const { ecc, retention, requiredFeatures } = format;
  return [
    ["Hash", format.hash],
    ["Encryption", format.encryption],
    ["Key derivation", format.keyDerivation],
    ["ECC", ecc && `${ecc.algorithm} with ${ecc.overheadPercent}% overhead`],
    ["Splitter", policySplitter ?? format.splitter],
    ["Splitter of Kopia", policySplitter && format.splitter],
    ["Format version", String(format.version)],
    ["Content compression", String(format.indexVersion >= 2)],
    ["Password changes", String(format.enablePasswordChange)],
    ["Max pack length", formatBytes(format.maxPackSize)],
    ["Index format", `v${format.indexVersion}`],
    ["Object lock", retention && `${retention.mode}, ${formatDuration(retention.periodMs)}`],
    [
      "Required features",
      requiredFeatures.length === 0
        ? undefined
        : requiredFeatures.map(({ feature }) => feature).join(", "),
    ],
  ];
}

function epochFacts({ format: { epochs } }: Repository, writeEpoch: number): Facts {
  if (!epochs.enabled) {
    return [["Epochs", "disabled"]];
  }
  const size = formatBytes(epochs.advanceOnTotalSizeBytesThreshold);
  return [
    ["Epochs", "enabled"],
    ["Current epoch", String(writeEpoch)],
    ["Epoch refresh", `every ${formatDuration(epochs.refreshFrequencyMs)}`],
    [
      "Epoch advances on",
      `${epochs.advanceOnCountThreshold} blobs or ${size}, after ${formatDuration(epochs.minEpochDurationMs)}`,
    ],
    ["Epoch cleanup margin", formatDuration(epochs.cleanupSafetyMarginMs)],
    ["Epoch compaction", `every ${epochs.fullCheckpointFrequency} epochs`],
  ];
}

function printFacts(facts: Facts): void {
  for (const [label, value] of facts) {
    if (value !== undefined) {
      printLine(`${`${label}:`.padEnd(22)} ${value}`);
    }
  }
}

function descriptionOf({ description, storage }: Connection): string {
  return description ?? `Repository in ${storageType(storage.type).describe(storage.config)}`;
}

function nanoseconds(ms: number): number {
  return ms * 1_000_000;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

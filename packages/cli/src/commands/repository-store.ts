import { randomBytes } from "node:crypto";
import { errorMessage, syncBlobs } from "@varve/core";
import type { Command } from "commander";
import { cliEnvironment, withStore } from "../context.ts";
import { EXIT_FAILED, reportLocked } from "../exit.ts";
import { speedLimits } from "../limits.ts";
import { addSwitch, parseCount, parseDurationMs, parsePositive } from "../options.ts";
import { formatBytes, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { openStore, storageType } from "../storage.ts";
import type { StorageLocation } from "../storage-type.ts";

/** What needs the store of a repository and no password: `repository validate-provider` and `sync-to`. */

interface ValidateOptions {
  readonly json?: boolean;
  readonly numStorageConnections?: number;
  readonly concurrencyTestDuration?: number;
  readonly putBlobWorkers?: number;
  readonly getBlobWorkers?: number;
  readonly getMetadataWorkers?: number;
}

export function addValidateOptions(command: Command): void {
  command
    .option("--json", "print one JSON document")
    .option("--num-storage-connections <n>", "connections under load (5)", parsePositive)
    .option("--concurrency-test-duration <duration>", "of the load (30s)", parseDurationMs)
    .option("--put-blob-workers <n>", "that put blobs at once (3)", parseCount)
    .option("--get-blob-workers <n>", "that read blobs at once (3)", parseCount)
    .option("--get-metadata-workers <n>", "that ask for sizes at once (3)", parseCount);
}

export async function validateProvider(command: Command): Promise<void> {
  const { json = false, ...load } = command.opts<ValidateOptions>();
  await withStore(command, { readOnly: false }, async (_store, { connection, signal }) => {
    const { blobStoreCases, providerCases } = await import("@varve/core/testing");
    const { storage } = connection;
    const readOnly = connection.readOnly === true;
    const environment = cliEnvironment();
    const shared = {
      open: () => openStore(storage, { readOnly, environment }),
      // `z` is none of the prefixes of a repository, and what others test at the same time has another
      prefix: `z${randomBytes(3).toString("hex")}`,
    };
    const cases = [
      ...blobStoreCases(shared),
      ...providerCases({
        ...shared,
        environment,
        connections: load.numStorageConnections,
        durationMs: load.concurrencyTestDuration,
        putWorkers: load.putBlobWorkers,
        getWorkers: load.getBlobWorkers,
        statWorkers: load.getMetadataWorkers,
      }),
    ];
    const results: { name: string; ok: boolean; error?: string }[] = [];
    for (const { name, run } of cases) {
      signal.throwIfAborted();
      const error = await run().then(
        () => undefined,
        (reason: unknown) => errorMessage(reason),
      );
      results.push(error === undefined ? { name, ok: true } : { name, ok: false, error });
      if (!json) {
        printLine(error === undefined ? `ok    ${name}` : `FAIL  ${name}: ${error}`);
      }
    }
    const failed = results.filter(({ ok }) => !ok).length;
    if (json) {
      printJson({ storage: storage.type, cases: results, failed });
    } else {
      printLine(failed === 0 ? `All ${results.length} checks passed.` : `${failed} checks failed.`);
    }
    process.exitCode = failed === 0 ? process.exitCode : EXIT_FAILED;
  });
}

interface SyncCommandOptions {
  readonly delete: boolean;
  readonly update: boolean;
  readonly times: boolean;
  readonly dryRun: boolean;
  readonly mustExist: boolean;
  readonly parallel?: number;
  readonly json?: boolean;
}

export function addSyncOptions(command: Command): void {
  addSwitch(command, "delete", {
    on: false,
    help: "delete blobs that the repository no longer has",
  });
  addSwitch(command, "update", { on: true, help: "leave alone what is there but older" });
  addSwitch(command, "times", { on: false, help: "keep the times of blobs, if the place can" });
  addSwitch(command, "dry-run", { on: false, help: "only say what would be done", short: "n" });
  addSwitch(command, "must-exist", {
    on: false,
    help: "refuse a place that holds no copy of the repository yet",
  });
  command
    .option("--parallel <n>", "blobs on their way at once, at most (default 16)", parsePositive)
    .option("--json", "print one JSON document");
}

/** The place must exist, so that a disk that is not mounted is an error and not a full system disk. */
export async function syncTo(location: StorageLocation, command: Command): Promise<void> {
  const options = command.opts<SyncCommandOptions>();
  const { dryRun, mustExist, parallel } = options;
  await withStore(command, { readOnly: true }, async (store, { globals, signal }) => {
    const environment = cliEnvironment();
    await using destination = await openStore(location, {
      readOnly: dryRun,
      environment,
      limits: { ...location.limits, ...speedLimits(command) },
    });
    using progress = await startProgress({ enabled: globals.progress, label: "Copying" });
    const report = await syncBlobs(store, destination, {
      deleteExtra: options.delete,
      update: options.update,
      keepTimes: options.times,
      dryRun,
      mustExist,
      parallel,
      signal,
      onProgress: ({ copiedBlobs, copiedBytes }) =>
        progress.update({ text: `${copiedBlobs} blobs`, bytesDone: copiedBytes }),
    });
    if (report.locked.blobs > 0) {
      reportLocked(report.locked);
    }
    if (options.json === true) {
      printJson({ dryRun, ...report });
      return;
    }
    const would = dryRun ? "Would copy" : "Copied";
    const place = storageType(location.type).describe(location.config);
    printLine(
      `${would} ${report.copiedBlobs} blobs (${formatBytes(report.copiedBytes)}) to ${place}, ` +
        `deleted ${report.deletedBlobs}, ${report.inSync} were there already.`,
    );
  });
}

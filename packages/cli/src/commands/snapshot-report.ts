import { formatSource, snapshotToJson, type UploadReport } from "@varve/core";
import { counted, formatBytes, formatDuration, printableName, printLine } from "../output.ts";

/** What `snapshot create` tells of one source. */

/** Kopia's document, and what varve counts besides as `upload`. */
export function reportJson(report: UploadReport, options: { readonly stats: boolean }): object {
  const { snapshot, saved, contentStats, skipped, expired, checkpoints } = report;
  return {
    ...snapshotToJson(snapshot),
    id: snapshot.id ?? "",
    ...(options.stats ? {} : { stats: undefined }),
    upload: {
      saved,
      ...contentStats,
      lost: report.lost,
      skipped,
      expired,
      checkpoints,
      errors: report.errors.map(({ path, code, message, ignored }) => ({
        path,
        code,
        message,
        ignored,
      })),
    },
  };
}

/** Errors go to standard error, one a line, even where the rest is told as JSON. */
export function printReport(report: UploadReport, options: { readonly quiet: boolean }): void {
  const { snapshot, stats } = report;
  for (const { path, message, code, ignored } of report.errors) {
    const kind = ignored ? "ignored error" : "error";
    process.stderr.write(`varve: ${kind}: ${printableName(`${path}: ${message}`)} [${code}]\n`);
  }
  const untold = stats.errorCount + stats.ignoredErrorCount - report.errors.length;
  if (untold > 0) {
    process.stderr.write(`varve: and ${untold} errors more\n`);
  }
  printLost(report);
  if (snapshot.incomplete !== undefined) {
    process.stderr.write(
      `varve: the snapshot is incomplete (${snapshot.incomplete}): the same command goes on from here\n`,
    );
  } else if (stats.errorCount > 0) {
    process.stderr.write(`varve: ${stats.errorCount} entries are missing from the snapshot\n`);
  }
  if (!options.quiet) {
    printText(report);
  }
}

/** Older snapshots may need more than this one has stored anew. */
function printLost({ lost }: UploadReport): void {
  const { missingPacks, shortPacks, contents, storedAnew } = lost;
  if (contents > 0) {
    process.stderr.write(
      `varve: warning: ${counted(missingPacks, "pack")} missing from storage and ${shortPacks} cut short: ${storedAnew} of ${counted(contents, "lost content")} stored anew from the source; \`varve snapshot verify\` tells which snapshots need the rest\n`,
    );
  }
}

function printText({ snapshot, saved, stats, contentStats, skipped, expired }: UploadReport): void {
  const { root, source } = snapshot;
  const took = formatDuration(Number((snapshot.endTimeNs - snapshot.startTimeNs) / 1_000_000n));
  const {
    sizeBytes = root.sizeBytes,
    files = 1,
    symlinks = 0,
    directories = 0,
  } = root.summary ?? {};
  printLine(
    saved
      ? `snapshot ${snapshot.id ?? ""} of ${printableName(formatSource(source))}`
      : `${printableName(formatSource(source))} is as it was in the latest snapshot: nothing saved`,
  );
  printLine(`  root ${root.object}, ${took}`);
  printLine(
    `  ${counted(files, "file")}, ${counted(symlinks, "link")}, ${counted(directories, "directory")}, ${formatBytes(sizeBytes)}`,
  );
  printLine(`  ${stats.cachedFiles} unchanged, ${stats.nonCachedFiles} read`);
  const { newContents, dedupedContents, newOriginalBytes, uploadedBytes } = contentStats;
  printLine(
    `  ${counted(newContents, "new content")} (${formatBytes(newOriginalBytes)}), ${dedupedContents} known; ${formatBytes(uploadedBytes)} uploaded`,
  );
  const leftOut = [
    [stats.excludedFileCount, "file", "by rules"],
    [stats.excludedDirCount, "directory", "by rules"],
    [skipped.special, "special file", ""],
    [skipped.tooLarge, "file", "for their size"],
    [skipped.otherFileSystem, "entry", "on other file systems"],
    [skipped.cacheDirectories, "cache directory", "(stored empty)"],
  ] as const;
  const told = leftOut
    .filter(([count]) => count > 0)
    .map(([count, noun, why]) => `${counted(count, noun)} ${why}`.trimEnd());
  if (told.length > 0) {
    printLine(`  left out: ${told.join(", ")}`);
  }
  if (expired > 0) {
    printLine(`  ${expired} older snapshots have expired`);
  }
}

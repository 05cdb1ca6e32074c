import { type VerifyContentsReport, verifyContents } from "@varve/core";
import { type Command, InvalidArgumentError } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, parsePercent, parsePositive } from "../options.ts";
import { printableName, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";

/** `content verify`: exit status 1 when any content is damaged. */
export function addContentVerify(content: Command): void {
  const command = content
    .command("verify")
    .description("check that every content is where the index says")
    .option("--prefix <letter>", "only contents with this prefix", parseContentPrefix)
    .option("--download-percent <n>", "also read and check this part of the bytes", parsePercent, 0)
    .option("--parallel <n>", "packs read at once", parsePositive, 8)
    .option("--json", "print one JSON document")
    .action(async () => verify(command));
  addSwitch(command, "full", { on: false, help: "also read and check all bytes" });
  addSwitch(command, "include-deleted", { on: false, help: "also deleted contents" });
}

interface VerifyOptions {
  readonly full: boolean;
  readonly downloadPercent: number;
  readonly includeDeleted: boolean;
  readonly prefix?: string;
  readonly parallel: number;
  readonly json?: boolean;
}

async function verify(command: Command): Promise<void> {
  const { full, downloadPercent, includeDeleted, prefix, parallel, json } =
    command.opts<VerifyOptions>();
  await withRepository(command, { readOnly: true }, async (repository, { globals, signal }) => {
    using progress = await startProgress({ enabled: globals.progress, label: "Verifying" });
    const report = await verifyContents(repository, {
      readFraction: full ? 1 : downloadPercent / 100,
      readSeed: String(Date.now()), // other contents each time
      includeDeleted,
      prefix,
      parallel,
      signal,
      onProgress: ({ contentsRead, bytesRead }) =>
        progress.update({ text: `${contentsRead} contents`, bytesDone: bytesRead }),
    });
    if (json === true) {
      printJson(report);
    } else {
      printReport(report);
    }
    process.exitCode = report.damagedCount > 0 ? EXIT_FAILED : process.exitCode;
  });
}

function printReport(report: VerifyContentsReport): void {
  for (const { id, problem } of report.packs) {
    printLine(`${problem} pack ${id}`);
  }
  for (const { content, pack, code, message } of report.damaged) {
    printLine(`damaged content ${content} in pack ${pack}: ${message} [${code}]`);
  }
  if (report.damaged.length < report.damagedCount) {
    printLine(`and ${report.damagedCount - report.damaged.length} more`);
  }
  for (const { snapshot, path } of report.affected) {
    printLine(`needed by ${snapshot}/${printableName(path)}`);
  }
  printLine(
    `Verified ${report.contents} contents, ${report.contentsRead} of them read: ${report.damagedCount} damaged.`,
  );
}

/** Throws a usage error for what is no content prefix. */
function parseContentPrefix(text: string): string {
  if (!/^[g-z]?$/.test(text)) {
    throw new InvalidArgumentError("a prefix is one letter from g to z");
  }
  return text;
}

import { dirname, join, resolve } from "node:path";
import {
  createReceiptKey,
  readReceiptKey,
  type Receipt,
  reportVerification,
  type VerificationReport,
  VarveError,
  verifyWithReceipt,
} from "@varve/core";
import type { Command } from "commander";
import { type CommandContext, withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, collect, parseBytes, parseDays, parsePositive } from "../options.ts";
import { counted, formatBytes, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";

/** `verify`: reads all of the data once in so many days, a part at a time, and keeps signed receipts of it outside the repository. */
export function verifyCommands(command: Command): void {
  newKeyCommand(command.command("new-key").description("make a key that signs receipts"));
  runCommand(command.command("run").description("read what is due, and write a receipt"));
  reportCommand(
    command.command("report").description("tell what receipts prove, and what they do not"),
  );
}

const DEFAULT_DAYS = 30;

function newKeyCommand(command: Command): void {
  command.argument("<file>", "where to put it; there must be none").action(async (path: string) => {
    const publicKey = await createReceiptKey(resolve(path));
    printLine(`The key is in ${path}. Whoever checks receipts needs this:`);
    printLine(Buffer.from(publicKey).toString("base64"));
  });
}

interface CommonOptions {
  readonly within: number;
  readonly receiptKey?: string;
  readonly publicKey?: readonly string[];
  readonly receipts?: string;
  readonly json: boolean;
}

function addCommonOptions(command: Command): Command {
  command
    .option("--within <days>", "everything is read once in as many", parseDays, DEFAULT_DAYS)
    .option("--receipt-key <file>", "the key that signs")
    .option("--public-key <base64>", "of receipts that count, too; repeatable", collect)
    .option("--receipts <folder>", "where they are kept");
  return addSwitch(command, "json", { on: false, help: "print one JSON document" });
}

function runCommand(command: Command): void {
  addCommonOptions(command)
    .option("--budget <size>", "read no more than this, like 10GB", parseBytes)
    .option("--budget-requests <count>", "read no more packs than this", parsePositive);
  command.action(async () => {
    const options = command.opts<
      CommonOptions & { readonly budget?: number; readonly budgetRequests?: number }
    >();
    const { receiptKey } = options;
    if (receiptKey === undefined) {
      throw new VarveError(
        "invalid-argument",
        "give --receipt-key; `varve verify new-key` makes one",
      );
    }
    await withRepository(command, { readOnly: true }, async (repository, context) => {
      using progress = await startProgress({
        enabled: context.globals.progress,
        label: "verifying",
      });
      const report = await verifyWithReceipt(repository, {
        folder: receiptFolder(options, context),
        signer: await readReceiptKey(resolve(receiptKey)),
        publicKeys: givenKeys(options),
        withinDays: options.within,
        budgetBytes: options.budget,
        budgetRequests: options.budgetRequests,
        signal: AbortSignal.any([context.stop, context.signal]),
        onProgress: ({ packs, bytesRead }) =>
          progress.update({ text: counted(packs, "pack"), bytesDone: bytesRead }),
      });
      progress[Symbol.dispose]();
      const { verified, damaged, damagedRoots, pending, bytesRead } = report;
      if (damaged.length + damagedRoots.length + report.problems.length > 0) {
        process.exitCode = EXIT_FAILED;
      }
      if (options.json) {
        printJson(report);
        return;
      }
      printProblems(report.problems);
      printRoots(damagedRoots);
      for (const { pack, contents, message } of damaged) {
        const which = contents.length === 0 ? "" : `, contents ${contents.join(" ")}`;
        printLine(`damaged pack ${pack}${which}: ${message}`);
      }
      printLine(
        `${counted(verified.length, "pack")} of ${report.packs} good, ${damaged.length} damaged, ${pending.length} left for want of budget; ${formatBytes(bytesRead)} read`,
      );
      printLine(`receipt ${report.receipt}`);
    });
  });
}

function reportCommand(command: Command): void {
  addCommonOptions(command).action(async () => {
    const options = command.opts<CommonOptions>();
    const { receiptKey } = options;
    const own =
      receiptKey === undefined ? [] : [(await readReceiptKey(resolve(receiptKey))).publicKey];
    const publicKeys = [...own, ...givenKeys(options)];
    if (publicKeys.length === 0) {
      throw new VarveError("invalid-argument", "give --receipt-key or --public-key");
    }
    await withRepository(command, { readOnly: true }, async (repository, context) => {
      const report = await reportVerification(repository, {
        folder: receiptFolder(options, context),
        publicKeys,
        withinDays: options.within,
        signal: context.stop,
      });
      const { uncovered, failures, damagedRoots, chain } = report;
      const problems = [uncovered, failures, damagedRoots, chain.problems];
      if (problems.some(({ length }) => length > 0)) {
        process.exitCode = EXIT_FAILED;
      }
      if (options.json) {
        printJson(reportJson(report));
      } else {
        printReport(report, options.within);
      }
    });
  });
}

function reportJson(report: VerificationReport): object {
  const { packs, uncovered, failures, damagedRoots, chain } = report;
  return {
    packs,
    receipts: chain.receipts.length,
    gaps: chain.problems,
    failures,
    damagedRoots,
    uncovered: uncovered.map(({ pack, verifiedMs }) => ({ pack, verified: timeText(verifiedMs) })),
  };
}

function printReport(
  { packs, uncovered, failures, damagedRoots, chain }: VerificationReport,
  withinDays: number,
): void {
  printProblems(chain.problems);
  printRoots(damagedRoots);
  for (const { pack, message } of failures) {
    printLine(`damaged pack ${pack}: ${message}`);
  }
  for (const { pack, verifiedMs } of uncovered) {
    printLine(`not covered: pack ${pack}, last read ${timeText(verifiedMs) ?? "never"}`);
  }
  const last: Receipt | undefined = chain.receipts.at(-1);
  printLine(
    `${packs - uncovered.length} of ${counted(packs, "pack")} read within ${withinDays} days or younger, ${failures.length + damagedRoots.length} damaged, ${counted(chain.problems.length, "gap")} in ${counted(chain.receipts.length, "receipt")}, the last of ${timeText(last?.endedMs) ?? "never"}`,
  );
}

function printRoots(roots: VerificationReport["damagedRoots"]): void {
  for (const { blob, message } of roots) {
    printLine(`damaged ${blob}: ${message}`);
  }
}

function printProblems(problems: readonly string[]): void {
  for (const problem of problems) {
    printLine(`gap: ${problem}`);
  }
}

function timeText(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** Beside the connection, so that who can write to storage cannot write receipts. */
function receiptFolder({ receipts }: CommonOptions, { globals }: CommandContext): string {
  return resolve(receipts ?? join(dirname(globals.configFile), "receipts"));
}

function givenKeys({ publicKey = [] }: CommonOptions): readonly Uint8Array[] {
  return publicKey.map((text) => {
    const key = Buffer.from(text, "base64");
    if (key.length !== 32) {
      throw new VarveError("invalid-argument", `not a public key: ${text}`);
    }
    return key;
  });
}

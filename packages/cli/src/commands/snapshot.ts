import type { Command } from "commander";
import { restoreCommand } from "./restore.ts";
import { copyCommand, migrateCommand } from "./snapshot-copy.ts";
import { createCommand } from "./snapshot-create.ts";
import { deleteCommand, expireCommand, pinCommand } from "./snapshot-edit.ts";
import { estimateCommand } from "./snapshot-estimate.ts";
import { fixCommands } from "./snapshot-fix.ts";
import { snapshotListCommand } from "./snapshot-list.ts";
import { verifyCommand } from "./snapshot-verify.ts";

export function snapshotCommands(command: Command): void {
  createCommand(command.command("create").description("back up files and directories"));
  snapshotListCommand(command.command("list").alias("ls").description("list snapshots"));
  verifyCommand(command.command("verify").description("prove that snapshots can be restored"));
  restoreCommand(command.command("restore").description("the same as `varve restore`"));
  deleteCommand(command.command("delete").description("delete snapshots"));
  pinCommand(command.command("pin").description("keep snapshots from expiring, or no longer"));
  estimateCommand(command.command("estimate").description("tell what a backup would hold"));
  fixCommands(command.command("fix").description("take damage or unwanted files out of snapshots"));
  migrateCommand(
    command.command("migrate").description("copy snapshots from another repository into this one"),
  );
  copyCommand(
    command.command("copy").description("copy snapshots from this repository into another one"),
  );
  expireCommand(
    command.command("expire").description("delete the snapshots that no policy keeps any more"),
  );
}

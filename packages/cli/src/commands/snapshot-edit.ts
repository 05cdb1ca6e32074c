import {
  applyRetention,
  deleteSnapshot,
  effectivePolicy,
  formatSource,
  listSnapshots,
  listSources,
  pinSnapshot,
  predictFreedSpace,
  type Repository,
  type SavedSnapshot,
  VarveError,
} from "@varve/core";
import type { Command } from "commander";
import { maintainWhenDue } from "../auto-maintenance.ts";
import { withRepository } from "../context.ts";
import { addSwitch, collect } from "../options.ts";
import { counted, formatBytes, printableName, printJson, printLine } from "../output.ts";
import { failForDamage, shownTime, snapshotsOf, sourceOf } from "../select.ts";

/** Commands that change which snapshots there are, or for how long. What is deleted is named; data goes with maintenance. */

export function deleteCommand(command: Command): void {
  command.argument("<ids...>", "snapshots; with --all-snapshots-for-source, sources");
  addSwitch(command, "all-snapshots-for-source", {
    on: false,
    help: "every snapshot of a path or user@host:/path",
  });
  addSwitch(command, "delete", { on: false, help: "do it; without this, only tell" });
  addSwitch(command, "what-if", { on: false, help: "tell what space it would free" });
  command.action(async (ids: readonly string[]) => {
    const options = command.opts<{
      allSnapshotsForSource: boolean;
      delete: boolean;
      whatIf: boolean;
    }>();
    if (options.whatIf && options.delete) {
      throw new VarveError("invalid-argument", "give either --what-if or --delete");
    }
    const readOnly = !options.delete;
    await withRepository(command, { readOnly }, async (repository, context) => {
      const { stop } = context;
      const call = { signal: stop };
      const snapshots = options.allSnapshotsForSource
        ? await snapshotsOfSources(repository, ids, stop)
        : await snapshotsOf(repository, ids, call);
      if (options.whatIf) {
        const freed = await predictFreedSpace(
          repository,
          snapshots.map(({ id }) => id),
          call,
        );
        printLine(
          `would free ${formatBytes(freed.bytes)} (${freed.bytes} bytes) in ${counted(freed.contents, "content")}, ${formatBytes(freed.bytesInPacks)} of it in packs that hold nothing else`,
        );
      }
      if (options.delete) {
        for (const { id } of snapshots) {
          await deleteSnapshot(repository, id, call);
        }
        await repository.flush(call);
      }
      for (const snapshot of snapshots) {
        printLine(deletionLine(snapshot, options.delete));
      }
      if (!options.delete) {
        printLine("nothing was deleted: add --delete to do it");
      }
      await maintainWhenDue(repository, context);
    });
  });
}

export function pinCommand(command: Command): void {
  command
    .argument("<ids...>", "snapshots")
    .option("--add <pin>", "a pin to add; repeatable", collect)
    .option("--remove <pin>", "a pin to remove; repeatable", collect);
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (ids: readonly string[]) => {
    const { add, remove, json } = command.opts<{
      add?: readonly string[];
      remove?: readonly string[];
      json: boolean;
    }>();
    if (add === undefined && remove === undefined) {
      throw new VarveError("invalid-argument", "give --add, --remove or both");
    }
    const pins = {
      ...(add === undefined ? {} : { add }),
      ...(remove === undefined ? {} : { remove }),
    };
    await withRepository(command, { readOnly: false }, async (repository, { stop }) => {
      const call = { signal: stop };
      const changed: { before: string; id: string; pins: readonly string[] }[] = [];
      for (const { id } of await snapshotsOf(repository, ids, call)) {
        const after = await pinSnapshot(repository, id, pins, call);
        changed.push({ before: id, id: after.id, pins: after.pins });
      }
      await repository.flush(call);
      if (json) {
        printJson(changed);
        return;
      }
      for (const { before, id, pins } of changed) {
        const now = pins.length === 0 ? "no pins" : `pins ${printableName(pins.join(", "))}`;
        printLine(`snapshot ${before}${before === id ? "" : ` is now ${id}`}: ${now}`);
      }
    });
  });
}

export function expireCommand(command: Command): void {
  command.argument("[sources...]", "paths that were backed up here, or user@host:/path");
  addSwitch(command, "all", { on: false, help: "all sources of all users and hosts" });
  addSwitch(command, "delete", { on: false, help: "do it; without this, only tell" });
  command.action(async (texts: readonly string[]) => {
    const options = command.opts<{ all: boolean; delete: boolean }>();
    if (options.all === texts.length > 0) {
      throw new VarveError("invalid-argument", "give either --all or sources");
    }
    const readOnly = !options.delete;
    await withRepository(command, { readOnly }, async (repository, context) => {
      const { stop } = context;
      const call = { signal: stop };
      const sources = options.all
        ? await listSources(repository, call)
        : texts.map((text) => sourceOf(repository, text));
      const expired: SavedSnapshot[] = [];
      for (const source of sources) {
        const target = { type: "path", ...source } as const;
        const { policy } = await effectivePolicy(repository, target, call);
        const dryRun = !options.delete;
        expired.push(...(await applyRetention(repository, { source, policy, dryRun, ...call })));
      }
      if (options.delete) {
        await repository.flush(call);
      }
      for (const snapshot of expired) {
        printLine(deletionLine(snapshot, options.delete));
      }
      failForDamage(repository);
      if (expired.length === 0) {
        printLine("no snapshot has expired");
      } else if (!options.delete) {
        printLine("nothing was deleted: add --delete to do it");
      }
      await maintainWhenDue(repository, context);
    });
  });
}

async function snapshotsOfSources(
  repository: Repository,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<readonly SavedSnapshot[]> {
  const found: SavedSnapshot[] = [];
  for (const text of texts) {
    const source = sourceOf(repository, text);
    const { snapshots } = await listSnapshots(repository, { source }, { signal });
    if (snapshots.length === 0) {
      throw new VarveError("manifest-not-found", `no snapshot of ${formatSource(source)}`);
    }
    found.push(...snapshots);
  }
  return found;
}

function deletionLine(snapshot: SavedSnapshot, done: boolean): string {
  const pinned = snapshot.pins.length === 0 ? "" : " (pinned)";
  const what = `snapshot ${snapshot.id}${pinned} of ${printableName(formatSource(snapshot.source))}`;
  return `${done ? "deleted" : "would delete"} ${what} at ${shownTime(snapshot.startTimeNs)}`;
}

import {
  effectivePolicy,
  errorMessage,
  formatSource,
  listSnapshots,
  type Repository,
  retentionReasons,
  type SavedSnapshot,
  type SnapshotSource,
  snapshotToJson,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { modeText } from "../mode.ts";
import { addSwitch, collectTag, parsePositive } from "../options.ts";
import { formatBytes, printableName, printJson, printLine } from "../output.ts";
import { failForDamage, shownTime, sourceOf } from "../select.ts";

interface ListOptions {
  readonly all: boolean;
  readonly incomplete: boolean;
  readonly maxResults?: number;
  readonly tags?: Readonly<Record<string, string>>;
  readonly retention: boolean;
  readonly manifestId: boolean;
  readonly showIdentical: boolean;
  readonly reverse: boolean;
  readonly json: boolean;
}

export function snapshotListCommand(command: Command): void {
  command.argument("[source]", "a path that was backed up here, or user@host:/path");
  addSwitch(command, "all", { short: "a", on: false, help: "of all users and hosts" });
  addSwitch(command, "incomplete", {
    short: "i",
    on: false,
    help: "also checkpoints and other incomplete ones",
  });
  command
    .option("-n, --max-results <count>", "only the latest of each source", parsePositive)
    .option("--tags <key:value>", "only with this tag; repeatable", collectTag);
  addSwitch(command, "retention", { on: true, help: "leave out why each is kept" });
  addSwitch(command, "manifest-id", { short: "m", on: true, help: "leave out the ids" });
  addSwitch(command, "show-identical", {
    short: "l",
    on: false,
    help: "each one that is identical to the one before on a line of its own",
  });
  addSwitch(command, "reverse", { on: false, help: "latest first" });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (source: string | undefined) => {
    const options = command.opts<ListOptions>();
    await withRepository(command, { readOnly: true }, async (repository, { stop }) => {
      const groups = await findGroups(repository, source, options, stop);
      failForDamage(repository);
      if (options.json) {
        printJson(groups.flatMap(({ shown }) => shown.map(listedJson)));
      } else {
        for (const group of groups) {
          printGroup(group, options);
        }
      }
    });
  });
}

interface Listed {
  readonly snapshot: SavedSnapshot;
  readonly reasons: readonly string[];
}

interface Group {
  readonly source: SnapshotSource;
  readonly shown: readonly Listed[];
}

async function findGroups(
  repository: Repository,
  source: string | undefined,
  options: ListOptions,
  signal: AbortSignal,
): Promise<readonly Group[]> {
  const filter = source === undefined ? {} : { source: sourceOf(repository, source) };
  const list = await listSnapshots(repository, filter, { signal });
  for (const { id, error } of list.damaged) {
    process.stderr.write(`varve: snapshot ${id} cannot be read: ${error.message} [corrupt]\n`);
    process.exitCode = EXIT_FAILED;
  }
  const bySource = new Map<string, SavedSnapshot[]>();
  for (const snapshot of list.snapshots) {
    const { host, userName } = snapshot.source;
    const { client } = repository;
    const own = host === client.hostname && userName === client.username;
    if (options.all || source !== undefined || own) {
      const name = formatSource(snapshot.source);
      bySource.set(name, [...(bySource.get(name) ?? []), snapshot]);
    }
  }
  const groups: Group[] = [];
  for (const name of [...bySource.keys()].sort()) {
    const snapshots = bySource.get(name) ?? [];
    const reasons = await reasonsOf(repository, snapshots, signal);
    const shown = snapshots
      .filter((snapshot) => isWanted(snapshot, options))
      .slice(-(options.maxResults ?? snapshots.length))
      .map((snapshot) => ({ snapshot, reasons: reasons.get(snapshot.id) ?? [] }));
    const [first] = snapshots;
    if (first !== undefined && shown.length > 0) {
      groups.push({ source: first.source, shown: options.reverse ? shown.reverse() : shown });
    }
  }
  return groups;
}

function isWanted(snapshot: SavedSnapshot, { incomplete, tags }: ListOptions): boolean {
  return (
    (incomplete || snapshot.incomplete === undefined) &&
    Object.entries(tags ?? {}).every(([key, value]) => snapshot.tags[key] === value)
  );
}

/** Under the policy of now. A policy that cannot be read costs the reasons, not the list. */
async function reasonsOf(
  repository: Repository,
  snapshots: readonly SavedSnapshot[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const [first] = snapshots;
  if (first === undefined) {
    return new Map();
  }
  try {
    const target = { type: "path", ...first.source } as const;
    const { policy } = await effectivePolicy(repository, target, { signal });
    return retentionReasons(snapshots, policy.retention ?? {});
  } catch (error) {
    signal.throwIfAborted();
    process.stderr.write(`varve: no retention reasons: ${errorMessage(error)}\n`);
    return new Map();
  }
}

function listedJson({ snapshot, reasons }: Listed): object {
  return { ...snapshotToJson(snapshot), id: snapshot.id, retentionReason: reasons };
}

function printGroup({ source, shown }: Group, options: ListOptions): void {
  printLine(printableName(formatSource(source)));
  let identical: Listed[] = [];
  const printIdentical = (): void => {
    const last = identical.at(-1);
    if (last !== undefined) {
      const when = shownTime(last.snapshot.startTimeNs);
      printLine(`  + ${identical.length} identical until ${when}`);
    }
    identical = [];
  };
  for (const [index, listed] of shown.entries()) {
    const same = shown[index - 1]?.snapshot.root.object === listed.snapshot.root.object;
    if (same && !options.showIdentical && listed.snapshot.pins.length === 0) {
      identical.push(listed);
    } else {
      printIdentical();
      printLine(`  ${listedLine(listed, options)}`);
    }
  }
  printIdentical();
  printLine();
}

function listedLine({ snapshot, reasons }: Listed, options: ListOptions): string {
  const { root, incomplete, pins, tags, description } = snapshot;
  const { summary } = root;
  const failed = summary?.failed ?? 0;
  return [
    shownTime(snapshot.startTimeNs),
    root.object,
    formatBytes(summary?.sizeBytes ?? root.sizeBytes),
    modeText(root),
    `files:${summary?.files ?? 1}`,
    `dirs:${summary?.directories ?? 0}`,
    ...(options.manifestId ? [`manifest:${snapshot.id}`] : []),
    ...(failed > 0 ? [`errors:${failed}`] : []),
    ...(incomplete === undefined ? [] : [`incomplete:${printableName(incomplete)}`]),
    ...(options.retention && reasons.length > 0 ? [`(${reasons.join(",")})`] : []),
    ...Object.entries(tags).map(([key, value]) => printableName(`tag:${key}:${value}`)),
    ...(pins.length > 0 ? [`pins:${printableName(pins.join(","))}`] : []),
    ...(description === "" ? [] : [JSON.stringify(printableName(description))]),
  ].join(" ");
}

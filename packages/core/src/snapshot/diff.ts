import type { CallOptions } from "../base/environment.ts";
import { errorMessage } from "../base/errors.ts";
import type { DirectoryRecord } from "./directory.ts";
import { compareNames, nameKey } from "./entry-name.ts";
import type { DirectoryEntry, EntryMeta } from "./entry.ts";
import { type ObjectsOf, readDirectory, walkTree } from "./read-directory.ts";

/**
 * Compares two trees of snapshots by their directory records alone. Equal object ids mean equal bytes, so what both have in
 * common is never read, and no file is. Files cut or compressed in different ways have different ids for equal bytes;
 * those count as modified.
 */

/** What differs in an entry that both trees have. `content` never stands for a directory: its entries tell. */
export type Difference = "content" | "size" | "mode" | "mtime" | "uid" | "gid";

/** A step of {@link diffTrees}; `path` is relative to the roots, `""` for the roots themselves. */
export type TreeChange =
  | { readonly kind: "added" | "removed"; readonly path: string; readonly entry: DirectoryEntry }
  | {
      readonly kind: "modified";
      readonly path: string;
      readonly before: DirectoryEntry;
      readonly after: DirectoryEntry;
      readonly differences: readonly Difference[];
    }
  /** A record of the tree on that side cannot be read, or an entry of it was set aside: nothing is known below. */
  | {
      readonly kind: "problem";
      readonly path: string;
      readonly side: "before" | "after";
      readonly message: string;
    };

/**
 * All changes from `before` to `after`, a directory before what is in it, names in bytewise order. What is added or removed is
 * listed with everything below it; an entry that changed its type is removed and added. The names of the roots are not
 * compared. Holds one pair of records for each level of the tree. Only an abort throws.
 */
export async function* diffTrees(
  repository: ObjectsOf,
  before: DirectoryEntry,
  after: DirectoryEntry,
  options: CallOptions = {},
): AsyncGenerator<TreeChange, void, undefined> {
  yield* diffEntries(repository, "", { before, after }, options);
}

interface Pair {
  readonly before?: DirectoryEntry | undefined;
  readonly after?: DirectoryEntry | undefined;
}

async function* diffEntries(
  repository: ObjectsOf,
  path: string,
  { before, after }: Pair,
  options: CallOptions,
): AsyncGenerator<TreeChange, void, undefined> {
  if (before === undefined || after === undefined || before.type !== after.type) {
    yield* listAll(repository, path, { kind: "removed", root: before }, options);
    yield* listAll(repository, path, { kind: "added", root: after }, options);
    return;
  }
  const differences = compareEntries(before, after);
  if (differences.length > 0) {
    yield { kind: "modified", path, before, after, differences };
  }
  if (before.type === "directory" && before.object !== after.object) {
    yield* diffDirectories(repository, path, { before, after }, options);
  }
}

async function* diffDirectories(
  repository: ObjectsOf,
  path: string,
  pair: Required<Pair>,
  options: CallOptions,
): AsyncGenerator<TreeChange, void, undefined> {
  const records: Partial<Record<keyof Pair, DirectoryRecord>> = {};
  for (const side of ["before", "after"] as const) {
    const directory = pair[side];
    if (directory !== undefined) {
      try {
        records[side] = await readDirectory(repository, directory.object, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        yield { kind: "problem", path, side, message: errorMessage(error) };
      }
    }
  }
  const { before, after } = records;
  if (before === undefined || after === undefined) {
    return; // taking an unreadable record for an empty one would tell of additions that never were
  }
  const prefix = path === "" ? "" : `${path}/`;
  for (const side of ["before", "after"] as const) {
    for (const { name, reason } of records[side]?.damaged ?? []) {
      yield { kind: "problem", path: prefix + name, side, message: reason };
    }
  }
  for (const { name, ...children } of pairUp(before.entries, after.entries)) {
    yield* diffEntries(repository, prefix + name, children, options);
  }
}

/** Entries of the same real name together, in order of their names. */
function pairUp(
  before: readonly DirectoryEntry[],
  after: readonly DirectoryEntry[],
): (Pair & { readonly name: string })[] {
  const pairs = new Map<string, Pair & { name: string }>();
  for (const entry of before) {
    pairs.set(nameKey(entry), { name: entry.name, before: entry });
  }
  for (const entry of after) {
    const key = nameKey(entry);
    pairs.set(key, { name: entry.name, before: pairs.get(key)?.before, after: entry });
  }
  return [...pairs.values()].sort((a, b) => compareNames(a.name, b.name));
}

async function* listAll(
  repository: ObjectsOf,
  path: string,
  { kind, root }: { kind: "added" | "removed"; root: DirectoryEntry | undefined },
  options: CallOptions,
): AsyncGenerator<TreeChange, void, undefined> {
  if (root === undefined) {
    return;
  }
  for await (const item of walkTree(repository, root, options)) {
    const at = [path, item.path].filter((part) => part !== "").join("/");
    yield "entry" in item
      ? { kind, path: at, entry: item.entry }
      : {
          kind: "problem",
          path: at,
          side: kind === "added" ? "after" : "before",
          message: item.problem,
        };
  }
}

function compareEntries(before: DirectoryEntry, after: DirectoryEntry): readonly Difference[] {
  const differences: Difference[] = [];
  if (before.type !== "directory" && before.object !== after.object) {
    differences.push("content");
  }
  const members: readonly (readonly [Difference, keyof EntryMeta])[] = [
    ["size", "sizeBytes"],
    ["mode", "mode"],
    ["mtime", "mtimeNs"],
    ["uid", "uid"],
    ["gid", "gid"],
  ];
  for (const [difference, member] of members) {
    if (before[member] !== after[member]) {
      differences.push(difference);
    }
  }
  return differences;
}

/** Counts of changes among entries of one kind, with the names of Kopia's diff statistics. */
export interface DiffCounts {
  readonly added: number;
  readonly removed: number;
  readonly modified: number;
  /** Modified with an equal object id. One entry may count in several of the four below. */
  readonly sameContentButDifferentMetadata: number;
  readonly sameContentButDifferentMode: number;
  readonly sameContentButDifferentModificationTime: number;
  readonly sameContentButDifferentUserOwner: number;
  readonly sameContentButDifferentGroupOwner: number;
}

/** Counts the changes that it is shown. */
export class DiffTally {
  /** Files and symlinks. */
  readonly files: DiffCounts = noCounts();
  readonly directories: DiffCounts = noCounts();
  problems = 0;

  add(change: TreeChange): void {
    if (change.kind === "problem") {
      this.problems++;
      return;
    }
    const { type } = change.kind === "modified" ? change.after : change.entry;
    const counts: Counting = type === "directory" ? this.directories : this.files;
    counts[change.kind]++;
    if (change.kind === "modified" && change.before.object === change.after.object) {
      counts.sameContentButDifferentMetadata++;
      for (const difference of change.differences) {
        const name = COUNTED_AS[difference];
        if (name !== undefined) {
          counts[name]++;
        }
      }
    }
  }
}

type Counting = { -readonly [name in keyof DiffCounts]: number };

const COUNTED_AS: Readonly<Partial<Record<Difference, keyof DiffCounts>>> = {
  mode: "sameContentButDifferentMode",
  mtime: "sameContentButDifferentModificationTime",
  uid: "sameContentButDifferentUserOwner",
  gid: "sameContentButDifferentGroupOwner",
};

function noCounts(): DiffCounts {
  return {
    added: 0,
    removed: 0,
    modified: 0,
    sameContentButDifferentMetadata: 0,
    sameContentButDifferentMode: 0,
    sameContentButDifferentModificationTime: 0,
    sameContentButDifferentUserOwner: 0,
    sameContentButDifferentGroupOwner: 0,
  };
}

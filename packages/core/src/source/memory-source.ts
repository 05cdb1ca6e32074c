import { utf8 } from "../base/bytes.ts";
import { compareNames } from "../snapshot/entry-name.ts";
import { type SourceEntry, type UnreadableEntry, failingIterable } from "./source-entry.ts";

/** What {@link memorySource} makes of a file, link, directory, special file, or a name that cannot be looked at. */
export type MemoryNode = MemoryMeta &
  (
    | { readonly data: Uint8Array | string }
    | { readonly target: string }
    | { readonly children: Readonly<Record<string, MemoryNode>> }
    | { readonly special: true }
    | { readonly error: Error }
  );

/** Left out: mode 0o755 for directories, 0o777 for links, else 0o644; the rest 0. */
export interface MemoryMeta {
  readonly mode?: number;
  readonly mtimeNs?: bigint;
  readonly uid?: number;
  readonly gid?: number;
  readonly deviceId?: number;
  readonly nameBytes?: Uint8Array;
}

/** A tree in memory as a source: for tests, and for embedders with data of their own. Nodes are not copied. */
export function memorySource(
  name: string,
  node: Exclude<MemoryNode, { error: Error }>,
): SourceEntry {
  const data =
    "data" in node ? bytesOf(node.data) : "target" in node ? utf8(node.target) : undefined;
  const type =
    "children" in node
      ? "directory"
      : "data" in node
        ? "file"
        : "target" in node
          ? "symlink"
          : "other";
  return {
    name,
    ...(node.nameBytes === undefined ? {} : { nameBytes: node.nameBytes }),
    ...(node.deviceId === undefined ? {} : { deviceId: node.deviceId }),
    meta: {
      type,
      mode: node.mode ?? (type === "directory" ? 0o755 : type === "symlink" ? 0o777 : 0o644),
      sizeBytes: data?.length ?? 0,
      mtimeNs: node.mtimeNs ?? 0n,
      uid: node.uid ?? 0,
      gid: node.gid ?? 0,
    },
    read: () =>
      data === undefined
        ? failingIterable(`${name}: neither file nor link`)
        : parts(data.length === 0 ? [] : [data]),
    children: () =>
      "children" in node
        ? parts(childrenOf(node.children))
        : failingIterable(`${name}: not a directory`),
  };
}

function childrenOf(
  children: Readonly<Record<string, MemoryNode>>,
): readonly (SourceEntry | UnreadableEntry)[] {
  return Object.entries(children)
    .sort(([a], [b]) => compareNames(a, b))
    .map(([name, node]) =>
      "error" in node ? { name, error: node.error } : memorySource(name, node),
    );
}

async function* parts<T>(items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
}

function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? utf8(data) : data;
}

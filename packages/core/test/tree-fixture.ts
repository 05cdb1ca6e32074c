import { concatBytes, fromUtf8, utf8 } from "../src/base/bytes.ts";
import type { BlobId, BlobStore } from "../src/blob/store.ts";
import type { ContentInfo } from "../src/index/content-info.ts";
import type { ObjectId } from "../src/object/object-id.ts";
import type { ObjectEntry } from "../src/object/object-store.ts";
import type { Repository } from "../src/repository/repository.ts";
import type { EntryPath, RestoreTarget, WritableFile } from "../src/restore/target.ts";
import { pathText } from "../src/restore/target.ts";
import { encodeDirectory } from "../src/snapshot/directory.ts";
import type { DirectoryEntry, EntryMeta } from "../src/snapshot/entry.ts";
import { type SavedSnapshot, saveSnapshot } from "../src/snapshot/snapshots.ts";
import { buildSummary } from "../src/snapshot/summary.ts";

/** What tests of restore and verify share: trees written straight into a repository, and a target in memory. */

export type Tree = { readonly [name: string]: Node };
export type Node = Uint8Array | string | { readonly link: string } | { readonly tree: Tree };

const MTIME_NS = 1_700_000_000_123_456_789n;

function meta(type: EntryMeta["type"], sizeBytes: number): EntryMeta {
  const mode = { directory: 0o755, file: 0o644, symlink: 0o777 }[type];
  return { type, mode, sizeBytes, mtimeNs: MTIME_NS, uid: 0, gid: 0 };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export async function writeBytes(
  repository: Repository,
  bytes: Uint8Array,
  options: { prefix?: string; splitter?: string } = {},
): Promise<ObjectId> {
  const { id } = await repository.objects.write(once(bytes), {
    prefix: options.prefix ?? "",
    splitter: repository.splitter(options.splitter ?? "FIXED-128K"),
  });
  return id;
}

export async function writeEntry(
  repository: Repository,
  name: string,
  node: Node,
): Promise<DirectoryEntry> {
  if (typeof node === "string" || node instanceof Uint8Array) {
    const bytes = typeof node === "string" ? utf8(node) : node;
    return {
      ...meta("file", bytes.length),
      name,
      object: await writeBytes(repository, bytes),
    };
  }
  if ("link" in node) {
    const object = await writeBytes(repository, utf8(node.link));
    return { ...meta("symlink", utf8(node.link).length), name, object };
  }
  const entries: DirectoryEntry[] = [];
  for (const [child, childNode] of Object.entries(node.tree)) {
    entries.push(await writeEntry(repository, child, childNode));
  }
  return await writeDirectory(repository, name, entries);
}

export async function writeDirectory(
  repository: Repository,
  name: string,
  entries: readonly DirectoryEntry[],
): Promise<DirectoryEntry> {
  const summary = buildSummary({ entries, mtimeNs: MTIME_NS });
  const record = encodeDirectory({ entries, summary });
  const object = await writeBytes(repository, record, { prefix: "k" });
  return { ...meta("directory", 0), name, object, summary };
}

/** A directory record that no encoder would write. */
export async function writeRawDirectory(
  repository: Repository,
  entries: readonly object[],
): Promise<DirectoryEntry> {
  const record = utf8(JSON.stringify({ stream: "kopia:directory", entries, summary: {} }));
  const object = await writeBytes(repository, record, { prefix: "k" });
  return { ...meta("directory", 0), name: "raw", object };
}

export async function writeSnapshot(
  repository: Repository,
  root: DirectoryEntry,
  path = "/data",
): Promise<SavedSnapshot> {
  const saved = await saveSnapshot(repository, {
    source: { host: "host", userName: "user", path },
    description: "",
    startTimeNs: MTIME_NS,
    endTimeNs: MTIME_NS,
    stats: {
      totalSize: 0,
      excludedTotalSize: 0,
      fileCount: 0,
      cachedFiles: 0,
      nonCachedFiles: 0,
      dirCount: 0,
      excludedFileCount: 0,
      excludedDirCount: 0,
      ignoredErrorCount: 0,
      errorCount: 0,
    },
    root,
    tags: {},
    pins: [],
  });
  await repository.flush();
  return saved;
}

export async function piecesOf(repository: Repository, object: ObjectId): Promise<ObjectEntry[]> {
  const pieces: ObjectEntry[] = [];
  for await (const piece of repository.objects.pieces(object)) {
    pieces.push(piece);
  }
  return pieces;
}

/** Replaces a stored blob by what `change` makes of its bytes. */
export async function changeBlob(
  store: BlobStore,
  id: BlobId,
  change: (bytes: Uint8Array) => Uint8Array,
): Promise<void> {
  await store.put(id, [change(await store.get(id))]);
}

/** Flips a bit in the middle of a content's packed bytes. */
export async function damageContent(store: BlobStore, info: ContentInfo): Promise<void> {
  await changeBlob(store, info.packBlobId, (bytes) => {
    const at = info.packOffset + Math.floor(info.packedLength / 2);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  });
}

export interface MemoryTarget extends RestoreTarget {
  /** Files as latin1 text, links as `-> target`, directories with a final `/` and how many files were in them when finished. */
  readonly found: Map<string, string>;
  readonly log: string[];
}

export function memoryTarget(
  options: { ordered?: boolean; skip?: (path: string) => boolean } = {},
): MemoryTarget {
  const found = new Map<string, string>();
  const log: string[] = [];
  const open = new Set<string>();
  const filed = new Set<string>();
  const file = (path: string, sizeBytes: number): WritableFile => {
    const parts: { offset: number; bytes: Uint8Array }[] = [];
    let written = 0;
    open.add(path);
    return {
      async writeAt(offset, bytes) {
        if (options.ordered === true && (offset !== written || open.size > 1)) {
          throw new Error("out of order");
        }
        written += bytes.length;
        parts.push({ offset, bytes });
      },
      async finish() {
        open.delete(path);
        log.push(`file ${path}`);
        filed.add(path);
        parts.sort((a, b) => a.offset - b.offset);
        const bytes = concatBytes(parts.map((part) => part.bytes));
        if (bytes.length !== sizeBytes) {
          throw new Error(`${bytes.length} bytes instead of ${sizeBytes}`);
        }
        found.set(path, Buffer.from(bytes).toString("latin1"));
      },
      async abandon() {
        open.delete(path);
        log.push(`abandon ${path}`);
      },
    };
  };
  return {
    ordered: options.ordered ?? false,
    found,
    log,
    async directory(path: EntryPath) {
      log.push(`directory ${pathText(path)}`);
      return 0;
    },
    async finishDirectory(path) {
      const text = pathText(path);
      log.push(`finish ${text}`);
      const inside = [...filed].filter((name) => text === "" || name.startsWith(`${text}/`));
      found.set(`${text}/`, String(inside.length));
    },
    async file(path, _meta, sizeBytes) {
      const text = pathText(path);
      return options.skip?.(text) === true ? undefined : file(text, sizeBytes);
    },
    async symlink(path, _meta, to) {
      found.set(pathText(path), `-> ${fromUtf8(to)}`);
      return true;
    },
    async finish() {
      log.push("end");
    },
    async abandon() {
      log.push("abandoned");
    },
  };
}

/** Files and links of a tree in the form of {@link MemoryTarget.found}. */
export function flatten(tree: Tree, below = ""): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [name, node] of Object.entries(tree)) {
    const path = `${below}${name}`;
    if (typeof node === "string" || node instanceof Uint8Array) {
      const bytes = typeof node === "string" ? utf8(node) : node;
      flat.set(path, Buffer.from(bytes).toString("latin1"));
    } else if ("link" in node) {
      flat.set(path, `-> ${node.link}`);
    } else {
      for (const [child, text] of flatten(node.tree, `${path}/`)) {
        flat.set(child, text);
      }
    }
  }
  return flat;
}

/** Without the directories. */
export function filesOf(target: MemoryTarget): Map<string, string> {
  return new Map([...target.found].filter(([path]) => !path.endsWith("/")));
}

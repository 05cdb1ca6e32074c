import { constants, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { basename } from "node:path";
import { setImmediate } from "node:timers/promises";
import { compareBytes, concatBytes, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import { type EntryName, compareNames, nameOfBytes, nameProblem } from "../snapshot/entry-name.ts";
import type { SourceEntry, UnreadableEntry } from "./source-entry.ts";

/**
 * A local file system tree as a source (behaviour §1.7). Only the root may be a symbolic link that is followed; below it
 * links are links. Node has no `openat`, so a directory that is swapped for a link while we walk can still lead astray;
 * the last component never does. Synchronous calls where the walk is hot: they are an order of magnitude cheaper than
 * promises, and the loop yields between batches.
 */

/** The tree or file at `path`; the entry keeps the given path's base name, whatever a link resolves to. Throws `source-failed`. */
export async function localSource(
  path: string | Uint8Array,
  options: CallOptions = {},
): Promise<SourceEntry> {
  options.signal?.throwIfAborted();
  const given = typeof path === "string" ? utf8(path) : path;
  try {
    const real = pathOf(realpathSync.native(location(given), { encoding: "buffer" }));
    return new LocalEntry(baseName(given), real, statSync(location(real), { bigint: true }));
  } catch (cause) {
    throw failure("look at", path, cause);
  }
}

const ENTRIES_PER_TURN = 1000;
const READ_CHUNK_BYTES = 1024 * 1024;
// A directory file of this size lists thousands of names: then listing it may take longer than a promise costs.
const LARGE_LISTING_BYTES = 256n * 1024n;
// What RFC 3339 can say, hence what the format holds: years 0 to 9999. Some file systems hold wilder times.
const MIN_TIME_NS = -62_167_219_200n * 1_000_000_000n;
const MAX_TIME_NS = 253_402_300_800n * 1_000_000_000n - 1n;

class LocalEntry implements SourceEntry {
  readonly name: string;
  readonly nameBytes?: Uint8Array;
  readonly meta: SourceEntry["meta"];
  readonly path: string | Uint8Array;
  readonly deviceId: number;
  readonly #listingBytes: bigint;

  constructor(name: EntryName, path: string | Uint8Array, stat: BigIntStats) {
    this.name = name.name;
    if (name.nameBytes !== undefined) {
      this.nameBytes = name.nameBytes;
    }
    this.path = path;
    this.meta = metaOf(stat);
    this.deviceId = Number(stat.dev);
    this.#listingBytes = stat.size;
  }

  async *read(options: CallOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    options.signal?.throwIfAborted();
    try {
      if (this.meta.type === "symlink") {
        yield new Uint8Array(readlinkSync(location(this.path), { encoding: "buffer" }));
      } else {
        yield* readFile(this.path, options);
      }
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw failure("read", this.path, cause);
    }
  }

  async child(
    name: string,
    options: CallOptions & { readonly follow?: boolean | undefined } = {},
  ): Promise<SourceEntry | undefined> {
    options.signal?.throwIfAborted();
    if (nameProblem({ name }) !== undefined) {
      return undefined;
    }
    const entry = childOf(this.path, { name });
    if (entry !== undefined && "error" in entry) {
      throw entry.error;
    }
    return options.follow === true && entry instanceof LocalEntry && entry.meta.type === "symlink"
      ? resolved(entry)
      : entry;
  }

  async *children(
    options: CallOptions = {},
  ): AsyncGenerator<SourceEntry | UnreadableEntry, void, undefined> {
    options.signal?.throwIfAborted();
    let names: readonly EntryName[];
    try {
      names = await listNames(this.path, this.#listingBytes > LARGE_LISTING_BYTES);
    } catch (cause) {
      throw failure("list", this.path, cause);
    }
    for (const [index, name] of names.entries()) {
      if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) {
        await setImmediate();
        options.signal?.throwIfAborted();
      }
      const entry = childOf(this.path, name);
      if (entry !== undefined) {
        yield entry;
      }
    }
  }
}

/** Nothing for a name that vanished since it was listed. */
function childOf(
  directory: string | Uint8Array,
  name: EntryName,
): SourceEntry | UnreadableEntry | undefined {
  const path = join(directory, name);
  try {
    const stat = lstatSync(location(path), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : new LocalEntry(name, path, stat);
  } catch (cause) {
    return { ...name, error: failure("look at", path, cause) };
  }
}

/** What a link leads to, under the link's name; nothing when it leads nowhere. */
function resolved(link: LocalEntry): LocalEntry | undefined {
  try {
    const real = pathOf(realpathSync.native(location(link.path), { encoding: "buffer" }));
    return new LocalEntry(link, real, statSync(location(real), { bigint: true }));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ELOOP" || code === "ENOTDIR") {
      return undefined;
    }
    throw failure("follow", link.path, cause);
  }
}

/** In bytewise order. Text is the fast way; a name that came out with U+FFFD may not be UTF-8, so then bytes are asked for. */
async function listNames(path: string | Uint8Array, large: boolean): Promise<readonly EntryName[]> {
  const where = location(path);
  const texts = large ? await readdir(where) : readdirSync(where);
  if (!texts.some((text) => text.includes("\ufffd"))) {
    return texts.sort(compareNames).map((name) => ({ name }));
  }
  const raw = large
    ? await readdir(where, { encoding: "buffer" })
    : readdirSync(where, { encoding: "buffer" });
  return raw.sort(compareBytes).map(nameOfBytes);
}

async function* readFile(
  path: string | Uint8Array,
  options: CallOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  // If the file was swapped for a link or a FIFO meanwhile: do not follow, do not wait for a writer.
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const file = await open(location(path), flags);
  try {
    if (!(await file.stat()).isFile()) {
      throw new Error("no longer a regular file");
    }
    for (;;) {
      options.signal?.throwIfAborted();
      const chunk = new Uint8Array(READ_CHUNK_BYTES);
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) {
        return;
      }
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function metaOf(stat: BigIntStats): SourceEntry["meta"] {
  const mode = Number(stat.mode);
  const type = typeOf(mode);
  return {
    type,
    mode: mode & 0o7777,
    sizeBytes: type === "file" || type === "symlink" ? Number(stat.size) : 0,
    mtimeNs: clampTime(stat.mtimeNs),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
  };
}

/** From the mode itself: each question to `Stats` costs as much as all of this. */
function typeOf(mode: number): SourceEntry["meta"]["type"] {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFDIR:
      return "directory";
    case constants.S_IFREG:
      return "file";
    case constants.S_IFLNK:
      return "symlink";
    default:
      return "other";
  }
}

function clampTime(timeNs: bigint): bigint {
  return timeNs < MIN_TIME_NS ? MIN_TIME_NS : timeNs > MAX_TIME_NS ? MAX_TIME_NS : timeNs;
}

/** Text as long as all components are UTF-8; bytes from the first that is not. */
function join(directory: string | Uint8Array, name: EntryName): string | Uint8Array {
  if (typeof directory === "string" && name.nameBytes === undefined) {
    return directory.endsWith("/") ? directory + name.name : `${directory}/${name.name}`;
  }
  const parent = typeof directory === "string" ? utf8(directory) : directory;
  return concatBytes([parent, utf8("/"), name.nameBytes ?? utf8(name.name)]);
}

/** Text when the bytes are. */
function pathOf(bytes: Uint8Array): string | Uint8Array {
  const { name, nameBytes } = nameOfBytes(bytes);
  return nameBytes ?? name;
}

/** Node takes paths of bytes only as its own kind of array. */
function location(path: string | Uint8Array): string | Buffer {
  return typeof path === "string" ? path : Buffer.from(path.buffer, path.byteOffset, path.length);
}

function baseName(path: Uint8Array): EntryName {
  // One character a byte, so that bytes that are not UTF-8 survive node:path.
  const name = basename(Buffer.from(path).toString("latin1"));
  return name === "" ? { name: "/" } : nameOfBytes(Buffer.from(name, "latin1"));
}

function failure(verb: string, path: string | Uint8Array, cause: unknown): VarveError {
  const shown = typeof path === "string" ? path : nameOfBytes(path).name;
  return new VarveError("source-failed", `${verb} ${shown}: ${errorMessage(cause)}`, { cause });
}

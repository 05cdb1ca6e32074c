import { constants, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { basename } from "node:path";
import { setImmediate } from "node:timers/promises";
import { compareBytes, concatBytes, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import { type EntryName, compareNames, nameOfBytes, nameProblem } from "../snapshot/entry-name.ts";
import { ListThread } from "./local-list-thread.ts";
import { FACTS, listPacked, type PackedListing } from "./local-listing.ts";
import type { SourceEntry, UnreadableEntry } from "./source-entry.ts";

/**
 * A local file system tree as a source (behaviour §1.7). Only the root may be a symbolic link that is followed; below it
 * links are links. Node has no `openat`, so a directory that is swapped for a link while we walk can still lead astray;
 * the last component never does. Synchronous calls where the walk is hot: they are an order of magnitude cheaper than
 * promises, and the loop yields between batches. Directories of some size are listed by a thread of their own, ahead.
 */

/** The tree or file at `path`; the entry keeps the given path's base name, whatever a link resolves to. Throws `source-failed`. */
export async function localSource(
  path: string | Uint8Array,
  options: CallOptions & {
    /** A thread looks at directories before the walk comes to them; default false. */
    readonly ahead?: boolean | undefined;
  } = {},
): Promise<SourceEntry> {
  options.signal?.throwIfAborted();
  const given = typeof path === "string" ? utf8(path) : path;
  try {
    const real = pathOf(realpathSync.native(location(given), { encoding: "buffer" }));
    const facts = factsOf(statSync(location(real), { bigint: true }));
    return new LocalEntry(
      baseName(given),
      real,
      facts,
      options.ahead === true ? "root" : undefined,
    );
  } catch (cause) {
    throw failure("look at", path, cause);
  }
}

const ENTRIES_PER_TURN = 1000;
const READ_CHUNK_BYTES = 1024 * 1024;
// A directory file of this size lists thousands of names: then listing it may take longer than a promise costs.
const LARGE_LISTING_BYTES = 128 * 1024;
// One of this size lists hundreds: then listing it takes longer than asking another thread for it.
const WORTH_A_THREAD_BYTES = 4096;
// The thread is as fast as the walk, so one directory ahead and one to be sure.
const DIRECTORIES_AHEAD = 2;
// What RFC 3339 can say, hence what the format holds: years 0 to 9999. Some file systems hold wilder times.
const MIN_TIME_NS = -62_167_219_200n * 1_000_000_000n;
const MAX_TIME_NS = 253_402_300_800n * 1_000_000_000n - 1n;

/** What is kept of a look at an entry. */
interface Facts {
  /** With the type in it. */
  readonly mode: number;
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  readonly device: number;
  readonly mtimeNs: bigint;
}

class LocalEntry implements SourceEntry {
  readonly name: string;
  readonly nameBytes?: Uint8Array;
  readonly meta: SourceEntry["meta"];
  readonly path: string | Uint8Array;
  readonly deviceId: number;
  readonly #listingBytes: number;
  /** Who lists directories ahead: for the root, a thread that is its own. */
  readonly #thread: ListThread | "root" | undefined;
  /** What the thread has found here, when it was asked. */
  #ahead: Promise<PackedListing | undefined> | undefined;

  constructor(
    name: EntryName,
    path: string | Uint8Array,
    facts: Facts,
    thread?: ListThread | "root",
  ) {
    this.name = name.name;
    if (name.nameBytes !== undefined) {
      this.nameBytes = name.nameBytes;
    }
    this.path = path;
    this.meta = metaOf(facts);
    this.deviceId = facts.device;
    this.#listingBytes = facts.size;
    this.#thread = thread;
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
    if (this.#thread === "root") {
      using thread = new ListThread();
      yield* this.#childrenWith(thread, options);
    } else {
      yield* this.#childrenWith(this.#thread, options);
    }
  }

  async *#childrenWith(
    thread: ListThread | undefined,
    options: CallOptions,
  ): AsyncGenerator<SourceEntry | UnreadableEntry, void, undefined> {
    const listing = await this.#listing();
    if (listing === undefined) {
      yield* this.#slowChildren(thread, options);
      return;
    }
    const entries = unpack(this.path, listing, thread);
    const upcoming = thread === undefined ? [] : entries.filter((entry) => entry.#isWorthAThread);
    let asked = 1; // the first one is walked at once
    for (const [index, entry] of entries.entries()) {
      if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) {
        await setImmediate();
        options.signal?.throwIfAborted();
      }
      if (entry.#isWorthAThread && thread !== undefined) {
        const at = upcoming.indexOf(entry, Math.max(0, asked - DIRECTORIES_AHEAD - 1));
        for (; asked <= at + DIRECTORIES_AHEAD; asked++) {
          const next = upcoming[asked];
          if (next !== undefined) {
            next.#lookAhead(thread);
          }
        }
      }
      yield entry;
    }
  }

  get #isWorthAThread(): boolean {
    const bytes = this.#listingBytes;
    return (
      this.meta.type === "directory" && bytes > WORTH_A_THREAD_BYTES && bytes <= LARGE_LISTING_BYTES
    );
  }

  #lookAhead(thread: ListThread): void {
    this.#ahead = typeof this.path === "string" ? thread.list(this.path) : undefined;
  }

  /** The whole directory at once; nothing when it is too long for that, or not plain. */
  async #listing(): Promise<PackedListing | undefined> {
    const ahead = await this.#ahead;
    this.#ahead = undefined; // a directory that is walked again is looked at again
    if (ahead !== undefined) {
      return ahead;
    }
    if (typeof this.path !== "string" || this.#listingBytes > LARGE_LISTING_BYTES) {
      return undefined;
    }
    try {
      return listPacked(this.path);
    } catch (cause) {
      throw failure("list", this.path, cause);
    }
  }

  async *#slowChildren(
    thread: ListThread | undefined,
    options: CallOptions,
  ): AsyncGenerator<SourceEntry | UnreadableEntry, void, undefined> {
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
      const entry = childOf(this.path, name, thread);
      if (entry !== undefined) {
        yield entry;
      }
    }
  }
}

function unpack(
  directory: string | Uint8Array,
  { names, facts, mtimesNs }: PackedListing,
  thread: ListThread | undefined,
): readonly LocalEntry[] {
  const entries: LocalEntry[] = [];
  for (const name of mtimesNs.length === 0 ? [] : names.split("/")) {
    const index = entries.length;
    const fact = (place: number): number => facts[index * FACTS + place] ?? 0; // they are there
    const [mode, size, uid, gid, device] = [fact(0), fact(1), fact(2), fact(3), fact(4)];
    const mtimeNs = mtimesNs[index] ?? 0n; // one for each name
    const path = join(directory, { name });
    entries.push(new LocalEntry({ name }, path, { mode, size, uid, gid, device, mtimeNs }, thread));
  }
  return entries;
}

/** Nothing for a name that vanished since it was listed. */
function childOf(
  directory: string | Uint8Array,
  name: EntryName,
  thread?: ListThread,
): SourceEntry | UnreadableEntry | undefined {
  const path = join(directory, name);
  try {
    const stat = lstatSync(location(path), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : new LocalEntry(name, path, factsOf(stat), thread);
  } catch (cause) {
    return { ...name, error: failure("look at", path, cause) };
  }
}

/** What a link leads to, under the link's name; nothing when it leads nowhere. */
function resolved(link: LocalEntry): LocalEntry | undefined {
  try {
    const real = pathOf(realpathSync.native(location(link.path), { encoding: "buffer" }));
    return new LocalEntry(link, real, factsOf(statSync(location(real), { bigint: true })));
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

function factsOf(stat: BigIntStats): Facts {
  return {
    mode: Number(stat.mode),
    size: Number(stat.size),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    device: Number(stat.dev),
    mtimeNs: stat.mtimeNs,
  };
}

function metaOf({ mode, size, uid, gid, mtimeNs }: Facts): SourceEntry["meta"] {
  const type = typeOf(mode);
  return {
    type,
    mode: mode & 0o7777,
    sizeBytes: type === "file" || type === "symlink" ? size : 0,
    mtimeNs: clampTime(mtimeNs),
    uid,
    gid,
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

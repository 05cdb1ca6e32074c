import { constants, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { basename } from "node:path";
import { setImmediate } from "node:timers/promises";
import { compareBytes, concatBytes, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import { type EntryName, compareNames, nameOfBytes, nameProblem } from "../snapshot/entry-name.ts";
import { ExpectedListings } from "./expected-listings.ts";
import { ListThread } from "./local-list-thread.ts";
import { listPacked } from "./local-listing.ts";
import {
  countOf,
  DEVICE,
  DIRECTORY,
  factOf,
  GID,
  MODE,
  NANOS,
  namesOf,
  type PackedListing,
  SECONDS,
  SIZE,
  TYPE_BITS,
  UID,
} from "./packed-listing.ts";
import type {
  ExpectedDirectory,
  PackedChildren,
  SourceEntry,
  UnreadableEntry,
} from "./source-entry.ts";

/**
 * A local file system tree as a source (behaviour §1.7). Only the root may be a symbolic link that is followed; below it
 * links are links. Node has no `openat`, so a directory that is swapped for a link while we walk can still lead astray;
 * the last component never does. Synchronous calls where the walk is hot: they are an order of magnitude cheaper than
 * promises, and the loop yields between batches. A thread of its own lists directories ahead of the walk.
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
    return new LocalEntry(baseName(given), real, facts, new LocalWalk(options.ahead ?? false));
  } catch (cause) {
    throw failure("look at", path, cause);
  }
}

const ENTRIES_PER_TURN = 1000;
const READ_CHUNK_BYTES = 1024 * 1024;
// A directory file of this size lists thousands of names: then listing it may take longer than a promise costs.
const LARGE_LISTING_BYTES = 128 * 1024;
// The thread is to be busy while the walk is in one of them.
const DIRECTORIES_AHEAD = 32;
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

/** What the directories of one walk share. */
class LocalWalk {
  readonly ahead: boolean;
  /** Belongs to the topmost directory that is being walked. */
  thread: ListThread | undefined;
  /** Listed in the order of the walk; without it, each directory asks for those in it. */
  expected: ExpectedListings | undefined;
  #sinceTurn = 0;

  constructor(ahead: boolean) {
    this.ahead = ahead;
  }

  /** Counts entries that were looked at, and lets the event loop turn when they are many. */
  async turnAfter(entries: number): Promise<void> {
    this.#sinceTurn += entries;
    if (this.#sinceTurn >= ENTRIES_PER_TURN) {
      this.#sinceTurn = 0;
      await setImmediate();
    }
  }
}

class LocalEntry implements SourceEntry {
  readonly name: string;
  readonly nameBytes?: Uint8Array;
  readonly meta: SourceEntry["meta"];
  readonly path: string | Uint8Array;
  readonly deviceId: number;
  readonly #listingBytes: number;
  readonly #walk: LocalWalk;
  /** What the thread was asked for here. */
  #asked: number | undefined;

  constructor(
    name: EntryName,
    path: string | Uint8Array,
    facts: Facts,
    walk: LocalWalk,
    asked?: number,
  ) {
    this.name = name.name;
    if (name.nameBytes !== undefined) {
      this.nameBytes = name.nameBytes;
    }
    this.path = path;
    this.meta = metaOf(facts);
    this.deviceId = facts.device;
    this.#listingBytes = facts.size;
    this.#walk = walk;
    this.#asked = asked;
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
    const entry = childOf(this.path, { name }, this.#walk);
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
    using children = await this.packedChildren(options);
    if (children === undefined) {
      yield* this.#slowChildren(options);
      return;
    }
    const count = countOf(children.listing);
    for (let index = 0; index < count; index++) {
      if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) {
        await setImmediate();
        options.signal?.throwIfAborted();
      }
      yield children.at(index);
    }
  }

  expect(directories: Promise<readonly ExpectedDirectory[]>): Disposable | undefined {
    const walk = this.#walk;
    const { path } = this;
    if (!walk.ahead || walk.thread !== undefined || typeof path !== "string") {
      return undefined;
    }
    const thread = new ListThread();
    walk.thread = thread;
    walk.expected = new ExpectedListings(thread, { root: path, directories });
    return {
      [Symbol.dispose]: () => {
        thread[Symbol.dispose]();
        walk.thread = undefined;
        walk.expected = undefined;
      },
    };
  }

  /** Nothing when the directory is too long to look at in one go, or not plain. */
  async packedChildren({ signal }: CallOptions = {}): Promise<PackedChildren | undefined> {
    signal?.throwIfAborted();
    const { path } = this;
    if (typeof path !== "string") {
      return undefined;
    }
    const walk = this.#walk;
    const owned = walk.ahead && walk.thread === undefined ? new ListThread() : undefined;
    walk.thread ??= owned;
    const release = (): void => {
      owned?.[Symbol.dispose]();
      walk.thread = owned === undefined ? walk.thread : undefined;
    };
    try {
      const listing = (await this.#listedAhead(path)) ?? this.#listHere(path);
      if (listing !== undefined) {
        await walk.turnAfter(countOf(listing));
        signal?.throwIfAborted();
        return new LocalChildren(path, listing, { walk, release });
      }
    } catch (cause) {
      release();
      signal?.throwIfAborted();
      throw failure("list", path, cause);
    }
    release();
    return undefined;
  }

  async #listedAhead(path: string): Promise<PackedListing | undefined> {
    const { thread, expected } = this.#walk;
    const listing = await expected?.take(path);
    if (listing !== undefined) {
      return listing;
    }
    const isLarge = this.#listingBytes > LARGE_LISTING_BYTES;
    let asked = this.#asked;
    this.#asked = undefined; // a directory that is walked again is looked at again
    if (asked === undefined && isLarge) {
      asked = thread?.ask(path, this.#listingBytes);
      thread?.send({ now: true });
    }
    return asked === undefined ? undefined : await thread?.take(asked, { wait: isLarge });
  }

  #listHere(path: string): PackedListing | undefined {
    if (this.#listingBytes > LARGE_LISTING_BYTES) {
      return undefined;
    }
    const listing = listPacked(path);
    this.#walk.thread?.saw(listing === undefined ? 0 : countOf(listing));
    return listing;
  }

  async *#slowChildren(
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
      const entry = childOf(this.path, name, this.#walk);
      if (entry !== undefined) {
        yield entry;
      }
    }
  }
}

class LocalChildren implements PackedChildren {
  readonly listing: PackedListing;
  readonly #path: string;
  readonly #walk: LocalWalk;
  readonly #release: () => void;
  #names: readonly string[] | undefined;
  /** Asked for and not walked yet, by place. */
  readonly #asked = new Map<number, number | undefined>();
  #askedUpTo = 0;

  constructor(
    path: string,
    listing: PackedListing,
    { walk, release }: { walk: LocalWalk; release: () => void },
  ) {
    this.#path = path;
    this.listing = listing;
    this.#walk = walk;
    this.#release = release;
  }

  at(index: number): SourceEntry {
    const { listing } = this;
    const fact = (place: number): number => factOf(listing, index, place);
    this.#names ??= namesOf(listing);
    const name = { name: this.#names[index] as string }; // one for each place
    const facts = {
      mode: fact(MODE),
      size: fact(SIZE),
      uid: fact(UID),
      gid: fact(GID),
      device: fact(DEVICE),
      mtimeNs: BigInt(fact(SECONDS)) * 1_000_000_000n + BigInt(fact(NANOS)),
    };
    const asked = isDirectory(facts.mode) ? this.#askAhead(index) : undefined;
    return new LocalEntry(name, join(this.#path, name), facts, this.#walk, asked);
  }

  [Symbol.dispose](): void {
    for (const asked of this.#asked.values()) {
      if (asked !== undefined) {
        void this.#walk.thread?.take(asked); // nobody will; it rejects never
      }
    }
    this.#asked.clear();
    this.#release();
  }

  /** Lets the thread list what comes next, and gives what it was asked for at `index`. */
  #askAhead(index: number): number | undefined {
    const { thread, expected } = this.#walk;
    if (thread === undefined || expected?.areKnown === true) {
      return undefined;
    }
    const asked = this.#asked.get(index);
    this.#asked.delete(index);
    this.#askedUpTo = Math.max(this.#askedUpTo, index + 1); // this one is walked at once
    if (this.#asked.size < DIRECTORIES_AHEAD / 2) {
      this.#askMore(thread);
    }
    return asked;
  }

  #askMore(thread: ListThread): void {
    const count = countOf(this.listing);
    while (this.#asked.size < DIRECTORIES_AHEAD && this.#askedUpTo < count) {
      const next = this.#askedUpTo++;
      if (isDirectory(factOf(this.listing, next, MODE))) {
        const path = join(this.#path, { name: this.#names?.[next] ?? "" });
        const bytes = factOf(this.listing, next, SIZE);
        this.#asked.set(next, typeof path === "string" ? thread.ask(path, bytes) : undefined);
      }
    }
    thread.send();
  }
}

function isDirectory(mode: number): boolean {
  return (mode & TYPE_BITS) === DIRECTORY;
}

/** Nothing for a name that vanished since it was listed. */
function childOf(
  directory: string | Uint8Array,
  name: EntryName,
  walk: LocalWalk,
): SourceEntry | UnreadableEntry | undefined {
  const path = join(directory, name);
  try {
    const stat = lstatSync(location(path), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : new LocalEntry(name, path, factsOf(stat), walk);
  } catch (cause) {
    return { ...name, error: failure("look at", path, cause) };
  }
}

/** What a link leads to, under the link's name; nothing when it leads nowhere. */
function resolved(link: LocalEntry): LocalEntry | undefined {
  try {
    const real = pathOf(realpathSync.native(location(link.path), { encoding: "buffer" }));
    const facts = factsOf(statSync(location(real), { bigint: true }));
    return new LocalEntry(link, real, facts, new LocalWalk(false));
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

import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { toHex, totalLength } from "../base/bytes.ts";
import { forEachLimit } from "../base/concurrency.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { assert, errorMessage } from "../base/errors.ts";
import type { BlobCache, CacheRange, CacheSource } from "./blob-cache.ts";

/**
 * A cache in a folder: a subfolder for each repository, a file for each entry. Any number of processes share it without
 * locks: an entry appears whole, by renaming, and one that goes away while it is read is only fetched again. It is a
 * help and never a need: a folder that cannot be written is warned of once, and then done without.
 */

export interface CacheFolderOptions {
  /** Default {@link DEFAULT_CACHE_BYTES}; for all repositories together. 0 keeps nothing. */
  readonly maxBytes?: number | undefined;
  /** Default: the real clock and random source, and no log. */
  readonly environment?: Environment | undefined;
}

export interface CacheFolder extends CacheSource {
  /** What lies in the folder now. Throws operating system errors, but for a folder that is not there. */
  usage(): Promise<{ readonly entries: number; readonly bytes: number; readonly maxBytes: number }>;
  /** Drops everything. Throws operating system errors. */
  clear(): Promise<void>;
}

/** Kopia's default for metadata. */
export const DEFAULT_CACHE_BYTES: number = 5000 * 1024 * 1024;

/** A cache in `path`, which is made, for its owner alone, when there is something to keep. */
export function openCacheFolder(path: string, options: CacheFolderOptions = {}): CacheFolder {
  return new DirectoryCache(path, options);
}

/** An entry that is used gets a new time when its own is older: what was not used for longest goes first. */
const TOUCH_AFTER_MS = 10 * 60_000;
/** Processes that died leave these behind. */
const TEMPORARY = "tmp.";
const MAX_TEMPORARY_AGE_MS = 60 * 60_000;
/** The folder is looked through each time that so many parts of the bound were added, and then emptied by as many. */
const SWEEP_PARTS = 16;
const STATS_IN_FLIGHT = 16;

// https://bford.info/cachedir/: backup programs, this one among them, pass such folders by.
const TAG_NAME = "CACHEDIR.TAG";
const TAG =
  "Signature: 8a477f597d28d172789f06886806bc55\n# Made by varve; may be deleted at any time.\n";

interface Entry {
  readonly file: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

class DirectoryCache implements CacheFolder {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #environment: Environment;
  /** Since everything was last looked through. */
  #addedBytes: number;
  #isTagged = false;
  #isBroken = false;
  #sweeping: Promise<void> | undefined;

  constructor(path: string, { maxBytes = DEFAULT_CACHE_BYTES, environment }: CacheFolderOptions) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#environment = environment ?? systemEnvironment();
    // By chance, so that a thousand processes that add a little each sweep as often as one that adds it all.
    const [chance = 0] = this.#environment.randomBytes(1);
    this.#addedBytes = (chance / 256) * this.#sweepBytes;
  }

  cacheOf(repositoryId: string): BlobCache {
    const folder = join(this.#path, nameOf(repositoryId));
    return {
      get: (name, range) => this.#get(join(folder, nameOf(name)), range),
      put: (name, parts) => this.#put(folder, nameOf(name), parts),
      drop: (name) => remove(join(folder, nameOf(name))),
    };
  }

  async usage(): Promise<{ entries: number; bytes: number; maxBytes: number }> {
    const entries = await this.#entries();
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    return { entries: entries.length, bytes, maxBytes: this.#maxBytes };
  }

  async clear(): Promise<void> {
    const entries = await this.#entries();
    await forEachLimit(entries, { limit: STATS_IN_FLIGHT }, ({ file }) =>
      rm(file, { force: true }),
    );
  }

  get #sweepBytes(): number {
    return this.#maxBytes / SWEEP_PARTS;
  }

  async #get(file: string, range: CacheRange | undefined): Promise<Uint8Array | undefined> {
    try {
      await using handle = await open(file, "r");
      const { size, mtimeMs } = await handle.stat();
      const { offset, length } = range ?? { offset: 0, length: size };
      if (offset + length > size) {
        return undefined;
      }
      const bytes = new Uint8Array(length);
      if (!(await fill(handle, bytes, offset))) {
        return undefined;
      }
      const nowMs = this.#environment.nowMs();
      if (nowMs - mtimeMs > TOUCH_AFTER_MS) {
        await handle.utimes(nowMs / 1000, nowMs / 1000);
      }
      return bytes;
    } catch {
      return undefined; // not there, as a rule; storage is asked, whatever it is
    }
  }

  async #put(folder: string, name: string, parts: readonly Uint8Array[]): Promise<void> {
    const size = totalLength(parts);
    if (this.#isBroken || size > this.#sweepBytes * (SWEEP_PARTS / 2)) {
      return; // one entry must not push out all others
    }
    const temporary = join(folder, TEMPORARY + toHex(this.#environment.randomBytes(8)));
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await this.#tag();
      await writeWhole(temporary, parts);
      await rename(temporary, join(folder, name));
    } catch (error) {
      await remove(temporary);
      this.#giveUp(error);
      return;
    }
    this.#addedBytes += size;
    if (this.#addedBytes >= this.#sweepBytes) {
      this.#sweeping ??= this.#sweep();
      await this.#sweeping;
    }
  }

  #giveUp(error: unknown): void {
    if (!this.#isBroken) {
      this.#isBroken = true;
      const message = `nothing more is kept in the cache ${this.#path}: ${errorMessage(error)}`;
      this.#environment.log({ level: "warning", message });
    }
  }

  async #tag(): Promise<void> {
    if (!this.#isTagged) {
      this.#isTagged = true;
      await writeFile(join(this.#path, TAG_NAME), TAG, { mode: 0o600 });
    }
  }

  async #sweep(): Promise<void> {
    this.#addedBytes = 0;
    try {
      const oldestFirst = (await this.#entries()).toSorted((a, b) => a.mtimeMs - b.mtimeMs);
      let bytes = oldestFirst.reduce((sum, entry) => sum + entry.bytes, 0);
      for (const entry of oldestFirst) {
        if (bytes <= this.#maxBytes - this.#sweepBytes) {
          break;
        }
        await rm(entry.file, { force: true });
        bytes -= entry.bytes;
      }
    } catch (error) {
      this.#giveUp(error); // what cannot be bounded must not grow
    } finally {
      this.#sweeping = undefined;
    }
  }

  /** All there are; removes what writers left behind that have died. */
  async #entries(): Promise<Entry[]> {
    const entries: Entry[] = [];
    const nowMs = this.#environment.nowMs();
    for (const folder of await listFolder(this.#path)) {
      if (folder === TAG_NAME) {
        continue;
      }
      const names = await listFolder(join(this.#path, folder));
      await forEachLimit(names, { limit: STATS_IN_FLIGHT }, async (name) => {
        const file = join(this.#path, folder, name);
        const stats = await stat(file).catch(() => undefined); // gone meanwhile
        if (stats?.isFile() !== true) {
          return;
        }
        if (!name.startsWith(TEMPORARY)) {
          entries.push({ file, bytes: stats.size, mtimeMs: stats.mtimeMs });
        } else if (nowMs - stats.mtimeMs > MAX_TEMPORARY_AGE_MS) {
          await remove(file);
        }
      });
    }
    return entries;
  }
}

/** Parts of paths come from ids that were checked; this is so that nothing ever lies elsewhere. */
function nameOf(text: string): string {
  assert(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$/.test(text), "the name of a cache entry is an id");
  return text;
}

async function listFolder(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") {
      return [];
    }
    throw error;
  }
}

/** Not flushed: an entry that a crash has torn is found out when it is opened. */
async function writeWhole(file: string, parts: readonly Uint8Array[]): Promise<void> {
  await using handle = await open(file, "wx", 0o600);
  for (const part of parts) {
    await handle.writeFile(part);
  }
}

/** False when the file ends too early. */
async function fill(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<boolean> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, offset + done);
    if (bytesRead === 0) {
      return false;
    }
    done += bytesRead;
  }
  return true;
}

async function remove(file: string): Promise<void> {
  await rm(file, { force: true }).catch(() => {}); // it is in nobody's way
}

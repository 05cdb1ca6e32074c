import { once } from "node:events";
import { createRequire } from "node:module";
import { PassThrough, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type * as yazl from "yazl";
import { VarveError } from "../base/errors.ts";
import type { EntryMeta } from "../snapshot/entry.ts";
import { archiveLink, archiveName } from "./archive-names.ts";
import { ArchiveOutput } from "./archive-output.ts";
import type { EntryPath, RestoreTarget, WritableFile } from "./target.ts";

/**
 * A zip archive with directories (empty ones too), files and symlinks, and Unix modes. The format holds no owners and
 * whole seconds only. A file that turns out to be damaged half way is filled up with zeros; the report names it. Names that
 * zip readers would change are failures (`unsupported`): not UTF-8, with a backslash, or starting like a drive.
 */
export interface ZipTargetOptions {
  /** Default true. */
  readonly compress?: boolean | undefined;
}

/** Writes to `output` and ends it. */
export function zipTarget(output: Writable, options: ZipTargetOptions = {}): RestoreTarget {
  return new ZipTarget(output, options);
}

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Loaded when the first archive is made: most programs make none. */
function newZipFile(): yazl.ZipFile {
  const { ZipFile } = createRequire(import.meta.url)("yazl") as typeof yazl; // its own types
  return new ZipFile();
}

// Files that the archive has taken and not written, and entries that it looks through each time that it writes one.
const MAX_WAITING_FILES = 32;
const MAX_DONE_ENTRIES = 256;
const YAZL_ENTRY_DONE = 3;

class ZipTarget implements RestoreTarget {
  readonly ordered = true;
  readonly #zip: yazl.ZipFile = newZipFile();
  readonly #waiting: Promise<unknown>[] = [];
  #added = 0;
  readonly #setAside: unknown[] = [];
  readonly #output: ArchiveOutput;
  readonly #compress: boolean;
  readonly #abort: AbortController = new AbortController();

  constructor(output: Writable, { compress = true }: ZipTargetOptions) {
    this.#compress = compress;
    this.#zip.on("error", (error: unknown) => this.#abort.abort(error));
    this.#output = new ArchiveOutput(
      pipeline(this.#zip.outputStream, output, { signal: this.#abort.signal }),
    );
  }

  async directory(path: EntryPath, meta: EntryMeta | undefined): Promise<number> {
    if (path.parent !== undefined) {
      this.#zip.addEmptyDirectory(zipName(path), attributes(meta, S_IFDIR | 0o755));
      this.#setDoneAside();
    }
    return 0;
  }

  async finishDirectory(): Promise<void> {}

  async file(
    path: EntryPath,
    meta: EntryMeta | undefined,
    sizeBytes: number,
  ): Promise<WritableFile> {
    const stream = new PassThrough();
    this.#zip.addReadStream(stream, zipName(path), {
      ...attributes(meta, S_IFREG | 0o644),
      size: sizeBytes,
      compress: this.#compress,
    });
    this.#setDoneAside();
    let written = 0;
    return {
      writeAt: async (_offset, bytes) => {
        written += bytes.length;
        await this.#output.write(stream, bytes);
      },
      finish: async () => {
        this.#waiting.push(once(stream, "end"));
        stream.end();
        if (this.#waiting.length > MAX_WAITING_FILES) {
          await this.#output.unlessFailed(Promise.resolve(this.#waiting.shift()));
        }
      },
      abandon: async () => {
        try {
          await this.#output.writeZeros(stream, sizeBytes - written);
          stream.end();
        } catch {
          // The output has failed: `finish` of the target says so.
        }
      },
    };
  }

  async symlink(path: EntryPath, meta: EntryMeta | undefined, to: Uint8Array): Promise<boolean> {
    archiveLink(to);
    this.#zip.addBuffer(Buffer.from(to), zipName(path), {
      ...attributes(meta, S_IFLNK | 0o777),
      compress: false,
    });
    this.#setDoneAside();
    return true;
  }

  /** For each entry that it writes the library looks through all from the first: those that are done wait elsewhere. */
  #setDoneAside(): void {
    this.#added += 1;
    if (this.#added % MAX_DONE_ENTRIES === 0) {
      const entries = entriesOf(this.#zip);
      const pending = entries.findIndex(({ state }) => state !== YAZL_ENTRY_DONE);
      for (const entry of entries.splice(0, pending < 0 ? entries.length : pending)) {
        this.#setAside.push(entry);
      }
    }
  }

  async finish(): Promise<void> {
    const entries = entriesOf(this.#zip);
    for (const entry of entries.splice(0)) {
      this.#setAside.push(entry);
    }
    Object.assign(this.#zip, { entries: this.#setAside }); // the directory at the end has all of them
    this.#zip.end();
    await this.#output.ended();
  }

  async abandon(): Promise<void> {
    this.#abort.abort();
    await this.#output.ended().catch(() => {}); // an archive cut short is what was asked for
  }
}

function entriesOf(zip: yazl.ZipFile): { readonly state?: number }[] {
  return (zip as unknown as { entries: { state?: number }[] }).entries; // no part of its types, but of every version up to now
}

function zipName(path: EntryPath): string {
  const name = archiveName(path);
  if (name.includes("\\") || /^[A-Za-z]:/.test(name)) {
    throw new VarveError(
      "unsupported",
      `${JSON.stringify(name)}: zip readers would change the name`,
    );
  }
  return name;
}

const MAX_SECONDS = 2 ** 31 - 1;

function attributes(meta: EntryMeta | undefined, otherwise: number): { mode: number; mtime: Date } {
  const seconds = Number((meta?.mtimeNs ?? 0n) / 1_000_000_000n);
  return {
    mode: meta === undefined ? otherwise : (meta.mode & 0o7777) | (otherwise & ~0o7777),
    mtime: new Date(Math.min(Math.max(seconds, 0), MAX_SECONDS) * 1000),
  };
}

import { createRequire } from "node:module";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type * as tarStream from "tar-stream";
import type { EntryMeta } from "../snapshot/entry.ts";
import { archiveLink, archiveName } from "./archive-names.ts";
import { ArchiveOutput } from "./archive-output.ts";
import type { EntryPath, RestoreTarget, WritableFile } from "./target.ts";

/**
 * A tar archive in the pax format: directories (empty ones too), files and symlinks, with every mode bit, exact times, and
 * names and sizes of any length. A file that turns out to be damaged half way is filled up with zeros, as its length stands
 * before it in the archive; the report names it. Names and link texts that are not UTF-8 are failures (`unsupported`).
 */
export interface TarTargetOptions {
  readonly gzip?: boolean | undefined;
}

/** Writes to `output` and ends it. */
export function tarTarget(output: Writable, options: TarTargetOptions = {}): RestoreTarget {
  return new TarTarget(output, options);
}

/** Loaded when the first archive is made: most programs make none. */
function loadTarStream(): typeof tarStream {
  return createRequire(import.meta.url)("tar-stream") as typeof tarStream; // its own types
}

class TarTarget implements RestoreTarget {
  readonly ordered = true;
  readonly #pack: tarStream.Pack = loadTarStream().pack();
  readonly #output: ArchiveOutput;

  constructor(output: Writable, { gzip = false }: TarTargetOptions) {
    this.#output = new ArchiveOutput(
      gzip ? pipeline(this.#pack, createGzip(), output) : pipeline(this.#pack, output),
    );
  }

  async directory(path: EntryPath, meta: EntryMeta | undefined): Promise<number> {
    if (path.parent !== undefined) {
      await this.#entry({ ...header(path, meta, S_IFDIR), type: "directory" });
    }
    return 0;
  }

  async finishDirectory(): Promise<void> {}

  async file(
    path: EntryPath,
    meta: EntryMeta | undefined,
    sizeBytes: number,
  ): Promise<WritableFile> {
    const { stream, done } = this.#start({
      ...header(path, meta, S_IFREG),
      type: "file",
      size: sizeBytes,
    });
    let written = 0;
    const end = async (): Promise<void> => {
      stream.end(undefined); // the types ask for an argument
      await this.#output.unlessFailed(done);
    };
    return {
      writeAt: async (_offset, bytes) => {
        written += bytes.length;
        await this.#output.write(stream, bytes);
      },
      finish: end,
      abandon: async () => {
        try {
          await this.#output.writeZeros(stream, sizeBytes - written);
          await end();
        } catch {
          // The output has failed: `finish` of the target says so.
        }
      },
    };
  }

  async symlink(path: EntryPath, meta: EntryMeta | undefined, to: Uint8Array): Promise<boolean> {
    await this.#entry({
      ...header(path, meta, S_IFLNK),
      type: "symlink",
      linkname: archiveLink(to),
    });
    return true;
  }

  async finish(): Promise<void> {
    this.#pack.finalize();
    await this.#output.ended();
  }

  async abandon(): Promise<void> {
    this.#pack.destroy();
    await this.#output.ended().catch(() => {}); // an archive cut short is what was asked for
  }

  async #entry(entry: TarHeader): Promise<void> {
    await this.#output.unlessFailed(this.#start(entry).done);
  }

  #start(entry: TarHeader): { stream: Sink; done: Promise<void> } {
    let stream: Sink | undefined;
    const done = new Promise<void>((resolve, reject) => {
      stream = this.#pack.entry(entry, (error) => {
        if (error) {
          reject(error);
        } else {
          resolve();
        }
      });
    });
    done.catch(() => {}); // looked at when the entry ends
    return { stream: stream as Sink, done }; // a promise's executor runs at once
  }
}

// Without a type bit tar-stream takes mode 0 for "not given"; it cuts the bit off when it writes.
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const MAX_HEADER_ID = 0o777777;
const MAX_HEADER_SECONDS = 2 ** 31 - 1;

type Sink = ReturnType<tarStream.Pack["entry"]>;
type TarHeader = Partial<tarStream.Header> & Pick<tarStream.Header, "name">;

function header(path: EntryPath, meta: EntryMeta | undefined, typeBit: number): TarHeader {
  const name = archiveName(path);
  if (meta === undefined) {
    return { name, mtime: new Date(0) };
  }
  const { mode, uid, gid, mtimeNs } = meta;
  const seconds = Number(mtimeNs / 1_000_000_000n);
  const pax: Record<string, string> = {};
  if (mtimeNs % 1_000_000_000n !== 0n || seconds < 0 || seconds > MAX_HEADER_SECONDS) {
    pax["mtime"] = decimalSeconds(mtimeNs);
  }
  if (uid > MAX_HEADER_ID) {
    pax["uid"] = String(uid);
  }
  if (gid > MAX_HEADER_ID) {
    pax["gid"] = String(gid);
  }
  const shownSeconds = Math.min(Math.max(seconds, 0), MAX_HEADER_SECONDS);
  return {
    name,
    mode: mode | typeBit,
    uid,
    gid,
    mtime: new Date(shownSeconds * 1000),
    ...(Object.keys(pax).length === 0 ? {} : { pax }),
  };
}

function decimalSeconds(timeNs: bigint): string {
  const digits = String(timeNs < 0n ? -timeNs : timeNs).padStart(10, "0");
  return `${timeNs < 0n ? "-" : ""}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

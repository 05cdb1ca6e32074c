import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { type ContentId, keySizeOf, writeContentKey } from "../index/content-id.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { DirectorySummary } from "../snapshot/entry.ts";

/**
 * What the walk of one source found, and how it stands in the snapshot, for the next walk on the same machine: where a directory
 * lists as it did, it is taken over without a look at its record. That is most of the work of a backup of which little has
 * changed. It lies in the cache, sealed, and is only ever compared with: a directory that is not remembered, or not as the
 * previous snapshot has it, costs the comparison with its record.
 */

export interface RememberedDirectory {
  readonly object: ObjectId;
  /** Of everything the record depends on but the directories below, in no particular form. */
  readonly state: string;
  /** Directories in it that are in the record. */
  readonly directories: number;
  readonly summary: DirectorySummary;
  /** Binary keys (spec §3.1) of the contents that the entries of its files and links name. */
  readonly keys: Uint8Array;
}

/** A directory more is not remembered, nor any above it. */
const MAX_DIRECTORIES = 50_000;
/** Likewise. A million contents of a hash of 16 bytes. */
const MAX_KEY_BYTES = 17 * 2 ** 20;
const VERSION = 1;

/** By path relative to the root, `""` for itself. */
export class RememberedTree {
  readonly #directories = new Map<string, RememberedDirectory>();
  #keyBytes = 0;

  get(path: string): RememberedDirectory | undefined {
    return this.#directories.get(path);
  }

  /** Keeps `keys`. False when there is no room. */
  set(path: string, directory: RememberedDirectory): boolean {
    if (
      this.#directories.size >= MAX_DIRECTORIES ||
      this.#keyBytes + directory.keys.length > MAX_KEY_BYTES
    ) {
      return false;
    }
    this.#keyBytes += directory.keys.length;
    this.#directories.set(path, directory);
    return true;
  }

  /** All of them, in the order in which a walk would come to them again. */
  *inOrder(): Generator<[path: string, directory: RememberedDirectory]> {
    // As if the separator were the first of all characters: a directory comes before what is in it, and that before the next.
    const paths = Array.from(this.#directories.keys(), (path) => path.replaceAll("/", "\0"));
    for (const key of paths.sort()) {
      const path = key.replaceAll("\0", "/");
      const directory = this.#directories.get(path);
      if (directory !== undefined) {
        yield [path, directory];
      }
    }
  }

  encode(): Uint8Array {
    const lines = Array.from(this.#directories, ([path, directory]) => {
      const { object, state, directories, summary, keys } = directory;
      const { sizeBytes, files, symlinks, directories: below, maxTimeNs } = summary;
      const totals = [sizeBytes, files, symlinks, below, String(maxTimeNs)];
      return JSON.stringify([path, object, state, directories, keys.length, ...totals]);
    });
    const head = utf8(`[${VERSION},[${lines.join(",")}]]`);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, head.length);
    return concatBytes([
      length,
      head,
      ...Array.from(this.#directories.values(), ({ keys }) => keys),
    ]);
  }

  /** Nothing for another version. `bytes` are kept; they are what {@link encode} gave, or this throws whatever comes of it. */
  static decode(bytes: Uint8Array): RememberedTree | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const end = 4 + view.getUint32(0);
    const [version, lines] = JSON.parse(fromUtf8(bytes.subarray(4, end))) as [number, Line[]]; // encode wrote it
    if (version !== VERSION) {
      return undefined;
    }
    const tree = new RememberedTree();
    let at = end;
    for (const line of lines) {
      const [path, object, state, directories, keyBytes, sizeBytes, files, symlinks, below, time] =
        line;
      const summary = {
        sizeBytes,
        files,
        symlinks,
        directories: below,
        maxTimeNs: BigInt(time),
        failed: 0,
        ignoredErrors: 0,
        errors: [],
      };
      const keys = bytes.subarray(at, at + keyBytes);
      tree.set(path, { object, state, directories, summary, keys });
      at += keyBytes;
    }
    return tree;
  }
}

type Line = [string, ObjectId, string, number, number, number, number, number, number, string];

/** The binary keys of the contents that some objects are found by, one after the other. */
export class ObjectKeys {
  #bytes = new Uint8Array(0);
  #length = 0;

  add(object: ObjectId): void {
    this.addContent(splitObjectId(object).contentId);
  }

  addContent(id: ContentId): void {
    const size = keySizeOf(id);
    if (this.#length + size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, size * 16));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    writeContentKey(id, this.#bytes, this.#length);
    this.#length += size;
  }

  /** What was added so far, a copy. */
  all(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

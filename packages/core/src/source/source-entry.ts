import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { EntryMeta } from "../snapshot/entry.ts";
import type { EntryName } from "../snapshot/entry-name.ts";
import type { PackedListing } from "./packed-listing.ts";

/** What is backed up: a live tree, walked once. Names are single path components, never `.`, `..`, empty or with `/`. */
export interface SourceEntry {
  /** Valid UTF-8 text; U+FFFD stands for bytes that are not. */
  readonly name: string;
  /** The real name when it is not valid UTF-8. */
  readonly nameBytes?: Uint8Array | undefined;
  /** Type `other` is a device, FIFO, socket or anything else that the format cannot hold. */
  readonly meta: Omit<EntryMeta, "type"> & { readonly type: EntryMeta["type"] | "other" };
  /** Where a worker can open it; left out for entries that only `read()` can give. */
  readonly path?: string | Uint8Array | undefined;
  /** Which file system it lies on; left out when unknown. */
  readonly deviceId?: number | undefined;
  /** Bytes of a file, target of a symlink as raw bytes. Throws `source-failed`. */
  read(options?: CallOptions): AsyncIterable<Uint8Array>;
  /** In bytewise order of the names, non-directories and directories mixed. A name that cannot be looked at comes as {@link UnreadableEntry}. Throws `source-failed` when the directory cannot be listed. */
  children(options?: CallOptions): AsyncIterable<SourceEntry | UnreadableEntry>;
  /**
   * What `children` gives, all at once and without an object for each: left out, or `undefined`, where the source cannot tell. To be
   * disposed when the walk has left the directory and all below it. Throws `source-failed`.
   */
  packedChildren?(options?: CallOptions): Promise<PackedChildren | undefined>;
  /**
   * Tells, before the walk begins, which directories it is likely to come to, in its order: the source may look at them ahead, until
   * what is given is disposed. They may be gone. Left out by sources that would not be faster.
   */
  expect?(directories: Promise<readonly ExpectedDirectory[]>): Disposable | undefined;
  /**
   * The child of that name, `undefined` when there is none; `follow` resolves a symlink, to `undefined` when it leads nowhere. Left out by
   * sources that can only list: ignore files and cache tags are then found by holding the whole list of a directory. Throws `source-failed`.
   */
  child?(
    name: string,
    options?: CallOptions & { readonly follow?: boolean | undefined },
  ): Promise<SourceEntry | undefined>;
}

export interface PackedChildren extends Disposable {
  readonly listing: PackedListing;
  /** The child at that place of the listing, a new object each time. Directories are asked for in their order. */
  at(index: number): SourceEntry;
}

export interface ExpectedDirectory {
  /** Relative, with `/`; `""` for the directory that is told itself. */
  readonly path: string;
  /** About how many entries it has. */
  readonly entries: number;
}

export interface UnreadableEntry {
  readonly name: string;
  readonly nameBytes?: Uint8Array | undefined;
  readonly error: Error;
}

/** The child of that name, if there is one. Throws what the source throws. */
export async function childOf(
  directory: SourceEntry,
  name: string,
  options: CallOptions,
): Promise<SourceEntry | undefined> {
  if (directory.child !== undefined) {
    return await directory.child(name, options);
  }
  for await (const child of directory.children(options)) {
    if (child.name === name && "meta" in child) {
      return child;
    }
  }
  return undefined;
}

/** The same entry under another name. */
export function renamed(source: SourceEntry, { name, nameBytes }: EntryName): SourceEntry {
  const { meta, path, deviceId } = source;
  const packedChildren = source.packedChildren?.bind(source);
  const child = source.child?.bind(source);
  return {
    ...{ name, nameBytes, meta, path, deviceId },
    read: (options) => source.read(options),
    children: (options) => source.children(options),
    ...(packedChildren === undefined ? {} : { packedChildren }),
    ...(child === undefined ? {} : { child }),
  };
}

/** What to give when there is nothing to read or to list: the first step throws `source-failed`. */
export function failingIterable(message: string): AsyncIterable<never> {
  const next = (): Promise<never> => Promise.reject(new VarveError("source-failed", message));
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

import type { CallOptions } from "../base/environment.ts";
import { concatBytes } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { countOf } from "../source/packed-listing.ts";
import type { PackedChildren, SourceEntry, UnreadableEntry } from "../source/source-entry.ts";

/** The children of one live directory, and single ones of them before the walk comes to them. */
export interface Listing extends Disposable {
  /** With `follow`, what a link leads to, where the source can tell. */
  find(name: string, options?: { readonly follow?: boolean }): Promise<SourceEntry | undefined>;
  /** Without those of `packed` that `except` has a 1 for. */
  children(
    except?: Uint8Array,
  ): AsyncIterable<SourceEntry | UnreadableEntry> | Iterable<SourceEntry | UnreadableEntry>;
  /** The same children, where the source gives all at once. */
  readonly packed?: PackedChildren | undefined;
}

/** Holds the whole list only for a source that cannot look up one name. Throws what the source throws. */
export async function openListing(directory: SourceEntry, options: CallOptions): Promise<Listing> {
  const packed = await directory.packedChildren?.(options);
  const find: Listing["find"] = async (name, { follow } = {}) =>
    directory.child?.(name, { ...options, follow });
  if (packed !== undefined) {
    const names = `/${packed.listing.names}/`;
    return {
      find: async (name, how) => (names.includes(`/${name}/`) ? find(name, how) : undefined),
      children: (except) => allOf(packed, except),
      packed,
      [Symbol.dispose]: () => packed[Symbol.dispose](),
    };
  }
  if (directory.child !== undefined) {
    return { find, children: () => directory.children(options), [Symbol.dispose]: () => {} };
  }
  const all: (SourceEntry | UnreadableEntry)[] = [];
  for await (const child of directory.children(options)) {
    all.push(child);
  }
  return {
    find: async (name) =>
      all.find((child): child is SourceEntry => "meta" in child && child.name === name),
    children: () => all,
    [Symbol.dispose]: () => {},
  };
}

function* allOf(
  packed: PackedChildren,
  except: Uint8Array | undefined,
): Generator<SourceEntry, void, undefined> {
  const count = countOf(packed.listing);
  for (let index = 0; index < count; index++) {
    if (except?.[index] !== 1) {
      yield packed.at(index);
    }
  }
}

/** The bytes of a small file. Throws `source-failed` when it is longer than `maxBytes`. */
export async function readSmallFile(
  file: SourceEntry,
  options: CallOptions & { readonly maxBytes: number },
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of file.read(options)) {
    length += part.length;
    if (length > options.maxBytes) {
      throw new VarveError(
        "source-failed",
        `${file.name} is longer than ${options.maxBytes} bytes`,
      );
    }
    parts.push(part);
  }
  return concatBytes(parts);
}

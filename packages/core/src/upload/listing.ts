import type { CallOptions } from "../base/environment.ts";
import { concatBytes } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { SourceEntry, UnreadableEntry } from "../source/source-entry.ts";

/** The children of one live directory, and single ones of them before the walk comes to them. */
export interface Listing {
  /** With `follow`, what a link leads to, where the source can tell. */
  find(name: string, options?: { readonly follow?: boolean }): Promise<SourceEntry | undefined>;
  children():
    | AsyncIterable<SourceEntry | UnreadableEntry>
    | Iterable<SourceEntry | UnreadableEntry>;
}

/** Holds the whole list only for a source that cannot look up one name. Throws what the source throws. */
export async function openListing(directory: SourceEntry, options: CallOptions): Promise<Listing> {
  if (directory.child !== undefined) {
    return {
      find: async (name, { follow } = {}) => directory.child?.(name, { ...options, follow }),
      children: () => directory.children(options),
    };
  }
  const all: (SourceEntry | UnreadableEntry)[] = [];
  for await (const child of directory.children(options)) {
    all.push(child);
  }
  return {
    find: async (name) =>
      all.find((child): child is SourceEntry => "meta" in child && child.name === name),
    children: () => all,
  };
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

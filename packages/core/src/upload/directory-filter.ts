import { equalBytes, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { createIgnoreRules, type IgnoreContext, parseIgnoreLines } from "../policy/ignore.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import { type Listing, openListing, readSmallFile } from "./listing.ts";
import type { OpenDirectory } from "./open-directory.ts";

/** What a policy leaves out of one directory (behaviour §1.6): by name, size, file system, and cache directories whole. */

export type Exclusion = "ignored" | "tooLarge" | "otherFileSystem";

export interface DirectoryFilter {
  readonly ignore: IgnoreContext;
  /** True when `exclusion` gives nothing for any child. */
  readonly isOpen: boolean;
  /** Why the child is left out, if it is. */
  exclusion(child: SourceEntry): Exclusion | undefined;
}

export interface EnteredDirectory {
  readonly listing: Listing;
  readonly filter: DirectoryFilter;
}

const CACHE_TAG = "CACHEDIR.TAG";
const CACHE_SIGNATURE = utf8("Signature: 8a477f597d28d172789f06886806bc55");
// A rule is a line written by a person; more is not an ignore file but an attack on memory.
const MAX_IGNORE_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Lists a directory and reads what it says itself about ignoring. `above` is the filter of its parent. The listing is to be disposed. Throws what the source throws,
 * and `invalid-argument` for a rule that cannot be understood.
 */
export async function enterDirectory(
  directory: Pick<OpenDirectory, "source" | "policy">,
  above: DirectoryFilter | undefined,
  options: CallOptions,
): Promise<EnteredDirectory | "cache directory"> {
  const listing = await openListing(directory.source, options);
  let filter: DirectoryFilter | undefined;
  try {
    filter = await readFilter(directory, listing, { above, signal: options.signal });
  } finally {
    if (filter === undefined) {
      listing[Symbol.dispose]();
    }
  }
  return filter === undefined ? "cache directory" : { listing, filter };
}

/** Nothing for a cache directory. */
async function readFilter(
  { source, policy }: Pick<OpenDirectory, "source" | "policy">,
  listing: Listing,
  { above, ...options }: CallOptions & { readonly above: DirectoryFilter | undefined },
): Promise<DirectoryFilter | undefined> {
  const files = policy.effective.files ?? {};
  if ((files.ignoreCacheDirs ?? true) && (await isCacheDirectory(listing, options))) {
    return undefined;
  }
  const dotIgnoreLines: string[] = [];
  for (const name of files.ignoreDotFiles ?? []) {
    const file = await listing.find(name, { follow: true });
    if (file?.meta.type === "file") {
      const bytes = await readSmallFile(file, { ...options, maxBytes: MAX_IGNORE_FILE_BYTES });
      dotIgnoreLines.push(...parseIgnoreLines(bytes));
    }
  }
  const rules = { policy, dotIgnoreLines };
  const ignore =
    above === undefined ? createIgnoreRules(rules) : above.ignore.enter(source.name, rules);
  const maxFileSize = files.maxFileSize ?? 0;
  const deviceId = files.oneFileSystem === true ? source.deviceId : undefined;
  const exclusion = (child: SourceEntry): Exclusion | undefined => {
    if (ignore.isIgnored(child.name, child.meta.type === "directory")) {
      return "ignored";
    }
    if (maxFileSize > 0 && child.meta.sizeBytes > maxFileSize) {
      return "tooLarge";
    }
    return deviceId !== undefined && child.deviceId !== deviceId ? "otherFileSystem" : undefined;
  };
  const isOpen = ignore.isEmpty && maxFileSize <= 0 && deviceId === undefined;
  return { ignore, isOpen, exclusion };
}

/** A tag that cannot be read makes no cache directory. */
async function isCacheDirectory(listing: Listing, options: CallOptions): Promise<boolean> {
  const tag = await listing.find(CACHE_TAG);
  if (tag?.meta.type !== "file") {
    return false;
  }
  try {
    let signature = new Uint8Array(0);
    for await (const part of tag.read(options)) {
      signature = new Uint8Array([...signature, ...part.subarray(0, CACHE_SIGNATURE.length)]);
      if (signature.length >= CACHE_SIGNATURE.length) {
        break;
      }
    }
    return equalBytes(signature.subarray(0, CACHE_SIGNATURE.length), CACHE_SIGNATURE);
  } catch {
    options.signal?.throwIfAborted();
    return false;
  }
}

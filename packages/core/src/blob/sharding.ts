import { encodeJson, JsonRecord, parseJson } from "../base/json.ts";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobId } from "./store.ts";

/** How a store of files spreads its blobs over directories: what the file `.shards` in its root says (spec §1.4). */
export interface Sharding {
  /** Lengths of the directory names that are peeled off the front of an id. */
  readonly shards: readonly number[];
  /** Ids up to this length lie in the root. */
  readonly maxNonShardedLength: number;
  /** Other lengths for ids that start with a prefix; the first that matches counts. */
  readonly overrides: readonly { readonly prefix: string; readonly shards: readonly number[] }[];
}

export const SHARDING_FILE = ".shards";
export const BLOB_SUFFIX = ".f";
const WHAT = "sharding file .shards";

/** What Kopia takes when `.shards` is missing: `[1, 3]` for a new store, `[3, 3]` for one that exists. */
export function defaultSharding(options: { isNew: boolean }): Sharding {
  return { shards: options.isNew ? [1, 3] : [3, 3], maxNonShardedLength: 20, overrides: [] };
}

/** Path of a blob below the root: directory names, then the file name. Throws `invalid-argument` for a name that would leave the root. */
export function blobPath(sharding: Sharding, id: BlobId): readonly string[] {
  const path: string[] = [];
  let rest: string = id;
  if (id.length > sharding.maxNonShardedLength) {
    const override = sharding.overrides.find(({ prefix }) => id.startsWith(prefix));
    for (const length of override?.shards ?? sharding.shards) {
      if (rest.length <= length) {
        break;
      }
      path.push(rest.slice(0, length));
      rest = rest.slice(length);
    }
  }
  path.push(rest + BLOB_SUFFIX);
  // A blob id may hold dots, and a shard of it may then be nothing else.
  if (path.some((name) => name === "." || name === ".." || /[/\\\0]/.test(name))) {
    throw new VarveError("invalid-argument", `blob ${id} has no path in this sharding`);
  }
  return path;
}

/** Parses `.shards`. Throws `corrupt`. */
export function parseSharding(bytes: Uint8Array): Sharding {
  const record = new JsonRecord(parseJson(bytes, WHAT), WHAT);
  return {
    shards: shardLengths(record, "default"),
    maxNonShardedLength: record.integer("maxNonShardedLength") ?? 0,
    overrides: (record.records("overrides") ?? []).map((override) => ({
      prefix: override.string("prefix") ?? "",
      shards: shardLengths(override, "shards"),
    })),
  };
}

/** `.shards` as Kopia writes it. */
export function encodeSharding(sharding: Sharding): Uint8Array {
  const json = {
    default: sharding.shards,
    maxNonShardedLength: sharding.maxNonShardedLength,
    overrides: sharding.overrides.length > 0 ? sharding.overrides : undefined,
  };
  return concatBytes([encodeJson(json), utf8("\n")]);
}

function shardLengths(record: JsonRecord, key: string): readonly number[] {
  return (record.array(key) ?? []).map((length) => {
    if (typeof length !== "number" || !Number.isSafeInteger(length) || length < 1) {
      throw new VarveError("corrupt", `${record.what}: ${key} is not a list of lengths`);
    }
    return length;
  });
}

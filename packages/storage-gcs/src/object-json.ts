import { type BlobId, type BlobInfo, parseBlobId, VarveError } from "@varve/core/blob";

/** Reads what the JSON API says of objects. An answer that is none of its own was damaged, or is another server's. */

export interface ObjectInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** When this generation was written, milliseconds since the Unix epoch. */
  readonly createdMs: number;
  /** The time that the writer set instead, if one did. */
  readonly setTimeMs: number | undefined;
  /** When this generation was replaced or deleted. */
  readonly deletedMs: number | undefined;
  /** Decimal; empty unless it was asked for. */
  readonly generation: string;
  /** Locked until then. */
  readonly retainUntilMs: number | undefined;
}

// The first letter is a capital one, and Kopia looks for it just so (spec §1.5).
const MTIME_KEY = "Kopia-Mtime";

/** Custom metadata that says `mtimeMs` as Kopia does: decimal nanoseconds. */
export function mtimeMetadata(mtimeMs: number): Readonly<Record<string, string>> {
  return { [MTIME_KEY]: String(BigInt(Math.trunc(mtimeMs)) * 1_000_000n) };
}

/** Throws `storage-failed`. */
export function decodeObject(body: Uint8Array, what: string): ObjectInfo {
  return readAnswer(body, what, readObject);
}

/** Throws `storage-failed`. */
export function decodeList(
  body: Uint8Array,
  what: string,
): {
  readonly objects: readonly ObjectInfo[];
  readonly folders: readonly string[];
  readonly nextPageToken: string | undefined;
} {
  return readAnswer(body, what, (answer) => {
    const { items = [], prefixes = [], nextPageToken } = readRecord(answer);
    if (!Array.isArray(items) || !Array.isArray(prefixes)) {
      throw new Error("items or prefixes is no list");
    }
    const token = typeof nextPageToken === "string" ? nextPageToken : "";
    return {
      objects: items.map(readObject),
      folders: prefixes.filter((name) => typeof name === "string"),
      nextPageToken: token === "" ? undefined : token,
    };
  });
}

/** The id of an object of the store; `undefined` for a stranger's. */
export function blobIdOf(object: string, prefix: string): BlobId | undefined {
  try {
    return object.startsWith(prefix) ? parseBlobId(object.slice(prefix.length)) : undefined;
  } catch {
    return undefined;
  }
}

export function blobInfo(id: BlobId, { size, createdMs, setTimeMs }: ObjectInfo): BlobInfo {
  return { id, size, mtimeMs: setTimeMs ?? createdMs };
}

/** Whether the answer for a bucket says that it keeps versions. Throws `storage-failed`. */
export function decodeVersioning(body: Uint8Array, what: string): boolean {
  return readAnswer(body, what, (answer) => {
    const { versioning } = readRecord(answer);
    return versioning !== undefined && readRecord(versioning)["enabled"] === true;
  });
}

function readAnswer<T>(body: Uint8Array, what: string, read: (value: unknown) => T): T {
  try {
    return read(JSON.parse(new TextDecoder().decode(body)));
  } catch (error) {
    const message = `${what}: the answer is not one of Google Cloud Storage`;
    throw new VarveError("storage-failed", message, { cause: error, retryable: true });
  }
}

function readObject(value: unknown): ObjectInfo {
  const { name, size, timeCreated, timeDeleted, generation, metadata, retention } =
    readRecord(value);
  if (typeof name !== "string") {
    throw new Error("an object without name");
  }
  const bytes = typeof size === "string" && /^\d+$/.test(size) ? Number(size) : Number.NaN;
  const createdMs = readTime(timeCreated);
  if (!Number.isSafeInteger(bytes) || createdMs === undefined) {
    throw new Error("an object without size or time");
  }
  return {
    name,
    size: bytes,
    createdMs,
    setTimeMs: metadata === undefined ? undefined : readSetTime(readRecord(metadata)[MTIME_KEY]),
    deletedMs: readTime(timeDeleted),
    generation: typeof generation === "string" ? generation : "",
    retainUntilMs:
      retention === undefined ? undefined : readTime(readRecord(retention)["retainUntilTime"]),
  };
}

function readRecord(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) {
    throw new Error("not a JSON object");
  }
  return value as Readonly<Record<string, unknown>>; // an object is one
}

function readTime(value: unknown): number | undefined {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

const MAX_INT64 = 2n ** 63n - 1n;

/** What Kopia's number parser does not take is no time (spec §1.5). */
function readSetTime(value: unknown): number | undefined {
  if (typeof value !== "string" || !/^[+-]?\d{1,19}$/.test(value)) {
    return undefined;
  }
  const ns = BigInt(value.replace("+", ""));
  return ns > MAX_INT64 || -ns > MAX_INT64 + 1n ? undefined : Number(ns / 1_000_000n);
}

import { fromUtf8, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { goJsonText, JsonRecord } from "../base/json.ts";
import { formatTimeNs, parseTimeNs } from "../base/time.ts";
import type { Codec } from "../compression/codec.ts";
import {
  type Labels,
  type ManifestId,
  type ManifestInfo,
  parseManifestId,
} from "./manifest-store.ts";
import { rawElements, rawMember } from "./raw-json.ts";

/** A manifest, or the tombstone of one, as a manifest content holds it (spec §6.1). */
export interface ManifestEntry extends ManifestInfo {
  readonly deleted: boolean;
  /** JSON as it was written; `null` for a tombstone. */
  readonly data: string;
}

/** Of the JSON in one content; what is longer could hardly be one JavaScript string. */
export const MAX_MANIFEST_BYTES: number = 2 ** 28;

/** The bytes of a manifest content: one gzip member of JSON with a final newline. */
export function encodeManifestContent(
  entries: readonly ManifestEntry[],
  options: { gzip: Codec },
): Uint8Array {
  // Kopia's reader breaks on any other top-level key.
  return options.gzip.compress(utf8(`{"entries":[${entries.map(entryText).join(",")}]}\n`));
}

/** Throws `corrupt` naming `what`. */
export function decodeManifestContent(
  content: Uint8Array,
  options: { gzip: Codec; what: string },
): ManifestEntry[] {
  const { gzip, what } = options;
  const json = gzip.decompress(content, MAX_MANIFEST_BYTES);
  const records = JsonRecord.parse(json, what).records("entries") ?? [];
  const text = fromUtf8(json);
  const places = rawElements(text, rawMember(text, 0, "entries")?.start ?? text.length);
  return records.map((record, index) => {
    const data = rawMember(text, places[index]?.start ?? text.length, "data");
    return {
      id: manifestId(record),
      labels: record.stringMap("labels") ?? {},
      modifiedNs: parseTimeNs(record.requireString("modified")),
      deleted: record.boolean("deleted") ?? false,
      data: data === undefined ? "null" : text.slice(data.start, data.end),
    };
  });
}

function entryText(entry: ManifestEntry): string {
  const members = [
    `"id":${goJsonText(entry.id)}`,
    `"labels":${entry.deleted ? "null" : goJsonText(sortedByKey(entry.labels))}`,
    `"modified":"${formatTimeNs(entry.modifiedNs)}"`,
    ...(entry.deleted ? ['"deleted":true'] : []),
    `"data":${entry.deleted ? "null" : entry.data}`,
  ];
  return `{${members.join(",")}}`;
}

function sortedByKey(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function manifestId(record: JsonRecord): ManifestId {
  try {
    return parseManifestId(record.requireString("id"));
  } catch (cause) {
    throw new VarveError("corrupt", `${record.what}: bad manifest id`, { cause });
  }
}

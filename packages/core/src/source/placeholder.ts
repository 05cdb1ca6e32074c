import { fromUtf8, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { errorMessage, VarveError } from "../base/errors.ts";
import { goJsonText } from "../base/json.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { entryFromJson, entryToJson } from "../snapshot/entry-json.ts";
import { type EntryName, nameProblem } from "../snapshot/entry-name.ts";
import { childOf, type SourceEntry } from "./source-entry.ts";

/**
 * Placeholders of a shallow restore (behaviour §3.5): `name.kopia-entry` in the place of a file, `name.kopia-entry/.kopia-entry` in that
 * of a directory, with the entry of the snapshot as JSON. Kopia's, byte for byte.
 */

export const PLACEHOLDER_SUFFIX = ".kopia-entry";
// An entry is one line; its summary has ten errors at most.
const MAX_PLACEHOLDER_BYTES = 1024 * 1024;
// Of all file systems that matter.
const MAX_NAME_BYTES = 255;

/** The name that a placeholder stands for; `undefined` for what is none. */
export function nameOfPlaceholder({ name, nameBytes }: EntryName): string | undefined {
  return nameBytes === undefined && name.endsWith(PLACEHOLDER_SUFFIX)
    ? name.slice(0, -PLACEHOLDER_SUFFIX.length) || undefined
    : undefined;
}

/** False for a name that a file system could not hold with the suffix. */
export function mayHavePlaceholder({ name, nameBytes }: EntryName): boolean {
  return nameBytes === undefined && utf8(name + PLACEHOLDER_SUFFIX).length <= MAX_NAME_BYTES;
}

export function placeholderText(entry: DirectoryEntry): Uint8Array {
  return utf8(`${goJsonText(entryToJson(entry))}\n`);
}

/**
 * The entry that a placeholder stands for, under the name that the placeholder has: it may have been renamed. What the entry says is as
 * trustworthy as whoever can write there. Throws `source-failed` for what is no placeholder.
 */
export async function readPlaceholder(
  placeholder: SourceEntry,
  options: CallOptions = {},
): Promise<DirectoryEntry> {
  const name = nameOfPlaceholder(placeholder);
  const isDirectory = placeholder.meta.type === "directory";
  const file = isDirectory ? await childOf(placeholder, PLACEHOLDER_SUFFIX, options) : placeholder;
  if (name === undefined || file?.meta.type !== "file") {
    throw new VarveError("source-failed", `${placeholder.name} is no placeholder`);
  }
  let text = "";
  for await (const part of file.read(options)) {
    text += fromUtf8(part); // what is cut between two parts is no name of ours, and told below
    if (text.length > MAX_PLACEHOLDER_BYTES) {
      throw new VarveError("source-failed", `${placeholder.name}: too long for a placeholder`);
    }
  }
  try {
    const entry = entryFromJson(JSON.parse(text));
    const problem = nameProblem({ name });
    if (problem !== undefined || (entry.type === "directory") !== isDirectory) {
      throw new Error(problem ?? "of another type than the entry in it");
    }
    const { nameBytes: _, ...rest } = entry;
    return { ...rest, name };
  } catch (cause) {
    const why = `${placeholder.name}: not a placeholder: ${errorMessage(cause)}`;
    throw new VarveError("source-failed", why, { cause });
  }
}

import { fromUtf8, utf8 } from "../base/bytes.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { entryToJson } from "../snapshot/entry-json.ts";
import { nameProblem } from "../snapshot/entry-name.ts";

/** Stubs: small text files that stand where an entry cannot be read, and say what it was (behaviour §5). */

const PREFIX = ".INVALID.";
// What file systems take; a stub that cannot be restored would be one more problem.
const MAX_NAME_BYTES = 255;

/** Kopia's members, in words of our own. The entry keeps its object id: when the data turns up again, it can be found. */
export function stubBytes(entry: DirectoryEntry, error: string): Uint8Array {
  const stub = {
    info: "This file stands in the place of an entry that could not be read when its snapshot was fixed.",
    error,
    entry: entryToJson(entry),
  };
  return utf8(`${JSON.stringify(stub, undefined, 4)}\n`);
}

/** The name of the stub for `entry`, one that is not among `taken`. */
export function stubName(entry: DirectoryEntry, taken: ReadonlySet<string>): string {
  // The root of a snapshot may have a path for a name.
  const problem = nameProblem({ name: entry.name });
  const base = problem === undefined ? PREFIX + entry.name : `${PREFIX}root`;
  let name = shortened(base, MAX_NAME_BYTES);
  for (let number = 1; taken.has(name); number++) {
    const suffix = `~${number}`;
    name = shortened(base, MAX_NAME_BYTES - suffix.length) + suffix;
  }
  return name;
}

function shortened(name: string, maxBytes: number): string {
  const bytes = utf8(name);
  return bytes.length <= maxBytes
    ? name
    : fromUtf8(bytes.subarray(0, maxBytes)).replace(/\ufffd+$/, ""); // a character that was cut
}

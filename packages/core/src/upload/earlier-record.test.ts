import { expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { parseObjectId } from "../object/object-id.ts";
import { encodeDirectory, parseDirectory } from "../snapshot/directory.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { buildSummary } from "../snapshot/summary.ts";
import { saysTheSame } from "./earlier-record.ts";

const object = parseObjectId("kc4546c177a81839282e5ae5024760ac5");
const meta = { mode: 0o644, sizeBytes: 0, mtimeNs: 5n, uid: 1, gid: 2, object };
const below = buildSummary({ entries: [], mtimeNs: 7n });
const written: DirectoryEntry[] = [
  { ...meta, name: "folder", type: "directory", summary: below },
  { ...meta, name: "a", type: "file", sizeBytes: 3 },
  { ...meta, name: "link", type: "symlink", sizeBytes: 1 },
];
const summary = buildSummary({ entries: written, mtimeNs: 9n });
const text = fromUtf8(encodeDirectory({ entries: written, summary }));

function earlierOf(json: string): Parameters<typeof saysTheSame>[0] {
  return { object, record: parseDirectory(utf8(json), "test") };
}

/** Files and links taken over from the record, the directory made anew, in an order of the walk. */
function takenOver(earlier: ReturnType<typeof earlierOf>): DirectoryEntry[] {
  const [folder, ...rest] = earlier.record.entries;
  return [...rest, { ...(folder as DirectoryEntry), summary: { ...below } }]; // it has three
}

test("a record says the same when all is taken over and the directories are equal", () => {
  const earlier = earlierOf(text);
  expect(saysTheSame(earlier, takenOver(earlier), summary)).toBe(true);
});

test("a file that was stored again, one less, another directory or another summary is not the same", () => {
  const earlier = earlierOf(text);
  const [a, link, folder] = takenOver(earlier) as [DirectoryEntry, DirectoryEntry, DirectoryEntry];
  const different: DirectoryEntry[][] = [
    [{ ...a }, link, folder],
    [a, folder],
    [a, link, { ...folder, name: "other" }],
    [a, link, { ...folder, mtimeNs: 6n }],
    [a, link, { ...folder, object: parseObjectId("k00") }],
    [a, link, { ...folder, summary: { ...below, maxTimeNs: 8n } }],
    [a, link, { ...folder, nameBytes: Uint8Array.of(0xff) }],
  ];
  for (const entries of different) {
    expect(saysTheSame(earlier, entries, summary)).toBe(false);
  }
  const incomplete = { ...summary, incomplete: "checkpoint" };
  expect(saysTheSame(earlier, takenOver(earlier), incomplete)).toBe(false);
});

test("a record with members that are not ours, or with damage, is written anew", () => {
  const changes: [string, string][] = [
    ['"stream"', '"new":1,"stream"'],
    ['"name":"a"', '"name":"a","new":1'],
    ['"name":"a"', '"NAME":"a"'],
    ['"summ":{', '"summ":{"new":1,'],
    ['"summary":{', '"summary":{"new":1,'],
    ['"entries":[', '"entries":[{"name":"..","type":"f","obj":"00"},'],
  ];
  for (const [from, to] of changes) {
    const earlier = earlierOf(text.replace(from, to));
    expect(earlier.record.entries).toHaveLength(3);
    expect(saysTheSame(earlier, takenOver(earlier), summary)).toBe(false);
  }
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseObjectId } from "../object/object-id.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { memorySource } from "./memory-source.ts";
import { nameOfPlaceholder, placeholderText, readPlaceholder } from "./placeholder.ts";
import type { SourceEntry } from "./source-entry.ts";

const entry: DirectoryEntry = {
  ...{ name: "a<b", type: "file", mode: 0o4755, sizeBytes: 7 },
  ...{ mtimeNs: 1_500_000_001n, uid: 1, gid: 0, object: parseObjectId("ab".repeat(16)) },
};

function fileOf(name: string, data: Uint8Array): SourceEntry {
  return memorySource(name, { data });
}

test("a placeholder has Kopia's bytes, and reads back under the name that it has", async () => {
  const text = placeholderText(entry);
  expect(new TextDecoder().decode(text)).toBe(
    `{"name":"a\\u003cb","type":"f","mode":"040000755","size":7,"mtime":"1970-01-01T00:00:01.500000001Z","uid":1,"obj":"${entry.object}"}\n`,
  );
  expect(await readPlaceholder(fileOf("moved.kopia-entry", text))).toEqual({
    ...entry,
    name: "moved",
  });
});

test("names without anything before the suffix, or that are not UTF-8, stand for nothing", () => {
  expect(nameOfPlaceholder({ name: "a.kopia-entry" })).toBe("a");
  expect(nameOfPlaceholder({ name: ".kopia-entry" })).toBeUndefined();
  expect(nameOfPlaceholder({ name: "a.kopia-entry.txt" })).toBeUndefined();
  const nameBytes = utf8("?.kopia-entry");
  expect(nameOfPlaceholder({ name: "\ufffd.kopia-entry", nameBytes })).toBeUndefined();
});

test("a directory needs an entry of a directory, and a file that of a file", async () => {
  const asDirectory = placeholderText({ ...entry, type: "directory" });
  await expect(readPlaceholder(fileOf("a.kopia-entry", asDirectory))).rejects.toMatchObject({
    code: "source-failed",
  });
  await expect(readPlaceholder(fileOf("...kopia-entry", asDirectory))).rejects.toMatchObject({
    code: "source-failed",
  });
});

test("whatever lies there gives an entry or `source-failed`", async () => {
  const text = placeholderText(entry);
  const mutated = fc
    .tuple(fc.nat(text.length - 1), fc.nat(255))
    .map(([at, value]) => text.with(at, value));
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), async (data) => {
      try {
        expect((await readPlaceholder(fileOf("a.kopia-entry", data))).name).toBe("a");
      } catch (error) {
        expect(isVarveError(error, "source-failed")).toBe(true);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

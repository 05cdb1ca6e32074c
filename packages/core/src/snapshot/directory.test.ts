import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseObjectId } from "../object/object-id.ts";
import { encodeDirectory, parseDirectory } from "./directory.ts";
import { compareNames, nameKey } from "./entry-name.ts";
import type { DirectoryEntry } from "./entry.ts";
import { EMPTY_SUMMARY, buildSummary, singleFileSummary } from "./summary.ts";

const vectors = JSON.parse(
  readFileSync(new URL("../../test/golden/vectors/directory.json", import.meta.url), "utf8"),
) as { records: Record<string, string>; specExample: string }; // the shape of our own file

const object = parseObjectId("0123456789abcdef0123456789abcdef");

function entry(name: string, more: Partial<DirectoryEntry> = {}): DirectoryEntry {
  return {
    name,
    type: "file",
    mode: 0o644,
    sizeBytes: 1,
    mtimeNs: 1n,
    uid: 0,
    gid: 0,
    object,
    ...more,
  };
}

function record(entries: string, rest = ""): Uint8Array {
  return utf8(`{"stream":"kopia:directory","entries":${entries}${rest}}`);
}

describe("records written by Kopia", () => {
  test.each(Object.entries(vectors.records))("%s: encodes to the same bytes", (_, text) => {
    const { entries, summary, damaged } = parseDirectory(utf8(text), "vector");
    expect(damaged).toEqual([]);
    expect(fromUtf8(encodeDirectory({ entries: entries.toReversed(), summary }))).toBe(text);
  });

  test.each(Object.entries(vectors.records))("%s: has the summary of its entries", (path, text) => {
    const { entries, summary } = parseDirectory(utf8(text), "vector");
    const mtimeNs = path === "/empty" ? 1_600_000_000_000_000_001n : 0n;
    expect(buildSummary({ entries, mtimeNs })).toEqual(summary);
  });

  test("special mode bits stand in Go's places", () => {
    const { entries } = parseDirectory(utf8(vectors.specExample), "vector");
    expect(entries.map(({ name, mode }) => [name, mode])).toEqual([
      ["emptydir", 0o755],
      ["link", 0o777],
      ["suid", 0o4755],
    ]);
    expect(fromUtf8(encodeDirectory({ entries, summary: EMPTY_SUMMARY }))).toContain(
      vectors.specExample.slice(0, vectors.specExample.indexOf(',"summary"')),
    );
  });
});

describe("encodeDirectory", () => {
  test("directories first, each group by UTF-8 bytes, not UTF-16 units", () => {
    const names = ["\u{1f600}", "\uffee", "b", "B", "é"];
    const bytes = encodeDirectory({
      entries: [
        ...names.map((name) => entry(name)),
        entry("z", { type: "directory", sizeBytes: 0 }),
      ],
      summary: EMPTY_SUMMARY,
    });
    expect(parseDirectory(bytes, "test").entries.map(({ name }) => name)).toEqual([
      "z",
      "B",
      "b",
      "é",
      "\uffee",
      "\u{1f600}",
    ]);
  });

  test("names that are not UTF-8 keep their bytes and get texts of their own", () => {
    const names = [0xff, 0xfe].map((byte) => Uint8Array.of(0x61, byte));
    const entries = [
      ...names.map((nameBytes) => entry("a\ufffd", { nameBytes })),
      entry("a\ufffd"),
    ];
    const bytes = encodeDirectory({ entries, summary: EMPTY_SUMMARY });
    const again = parseDirectory(bytes, "test");
    expect(again.damaged).toEqual([]);
    expect(again.entries.map(({ name, nameBytes }) => [name, nameBytes?.[1]])).toEqual([
      ["a\ufffd", undefined],
      ["a\ufffd~1", 0xfe],
      ["a\ufffd~2", 0xff],
    ]);
    // The suffix follows from the bytes: an entry taken over from an older record does not drag its own along.
    expect(encodeDirectory({ entries: again.entries, summary: EMPTY_SUMMARY })).toEqual(bytes);
  });

  test.each(["", ".", "..", "a/b", "a\0b"])("refuses the name %j", (name) => {
    expect(() => encodeDirectory({ entries: [entry(name)], summary: EMPTY_SUMMARY })).toThrow(
      expect.objectContaining({ code: "invalid-argument" }),
    );
  });

  test("refuses a name twice", () => {
    const entries = [entry("a"), entry("a")];
    expect(() => encodeDirectory({ entries, summary: EMPTY_SUMMARY })).toThrow("twice");
  });
});

describe("parseDirectory takes hostile records", () => {
  const good = `{"name":"ok","type":"f","obj":"${object}"}`;

  test.each([
    ["no name", `{"type":"f","obj":"${object}"}`],
    ["dot", `{"name":".","type":"f","obj":"${object}"}`],
    ["dot dot", `{"name":"..","type":"d","obj":"k${object}"}`],
    ["slash", `{"name":"../x","type":"f","obj":"${object}"}`],
    ["NUL", `{"name":"a\\u0000","type":"f","obj":"${object}"}`],
    ["duplicate", good],
    ["unknown type", `{"name":"a","type":"x","obj":"${object}"}`],
    ["no type", `{"name":"a","obj":"${object}"}`],
    ["negative size", `{"name":"a","type":"f","size":-1,"obj":"${object}"}`],
    ["absurd size", `{"name":"a","type":"f","size":1e300,"obj":"${object}"}`],
    ["fraction", `{"name":"a","type":"f","size":0.5,"obj":"${object}"}`],
    ["uid beyond 32 bits", `{"name":"a","type":"f","uid":4294967296,"obj":"${object}"}`],
    ["mode not octal", `{"name":"a","type":"f","mode":"0x1ff","obj":"${object}"}`],
    ["bad time", `{"name":"a","type":"f","mtime":"yesterday","obj":"${object}"}`],
    ["bad object", `{"name":"a","type":"f","obj":"../../x"}`],
    ["no object", `{"name":"a","type":"f"}`],
    ["valid nameBytes", `{"name":"a","type":"f","obj":"${object}","nameBytes":"YQ=="}`],
    ["nameBytes of another name", `{"name":"b","type":"f","obj":"${object}","nameBytes":"Yf8="}`],
    [
      "nameBytes with a slash",
      `{"name":"\ufffd/","type":"f","obj":"${object}","nameBytes":"/y8="}`,
    ],
    ["a number", "7"],
    ["null", "null"],
  ])("%s: sets the entry aside", (_, bad) => {
    const { entries, damaged } = parseDirectory(record(`[${good},${bad}]`), "test");
    expect(entries.map(({ name }) => name)).toEqual(["ok"]);
    expect(damaged).toHaveLength(1);
  });

  test.each([
    ["not JSON", "{"],
    ["another stream", '{"stream":"kopia:indirect","entries":[]}'],
    ["no stream", '{"entries":[]}'],
    ["entries not a list", '{"stream":"kopia:directory","entries":{}}'],
    ["a list", "[]"],
  ])("%s: is corrupt", (_, text) => {
    expect(() => parseDirectory(utf8(text), "test")).toThrow(
      expect.objectContaining({ code: "corrupt" }),
    );
  });

  test("keys match in any case, unknown ones are ignored, a bad summary counts as none", () => {
    const text = `[{"Name":"a","TYPE":"f","Size":3,"other":{},"obj":"${object}"}]`;
    const { entries, summary, damaged } = parseDirectory(
      record(text, ',"summary":{"size":"big","files":-1}'),
      "test",
    );
    expect(damaged).toEqual([]);
    expect(entries).toEqual([entry("a", { mode: 0, sizeBytes: 3, mtimeNs: 0n })]);
    expect(summary).toEqual(EMPTY_SUMMARY);
  });

  test("any bytes give a record or a VarveError", () => {
    const text = utf8(vectors.records[""] ?? "");
    const mutated = fc
      .array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { maxLength: 8 })
      .map((changes) => {
        const copy = text.slice();
        for (const [offset, byte] of changes) {
          copy[offset] = byte;
        }
        return copy;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array(), fc.json().map(utf8)), (bytes) => {
        try {
          const { entries } = parseDirectory(bytes, "fuzz");
          expect(new Set(entries.map(nameKey)).size).toBe(entries.length);
          encodeDirectory({ entries, summary: EMPTY_SUMMARY });
        } catch (error) {
          expect(isVarveError(error)).toBe(true);
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

const anyEntry: fc.Arbitrary<DirectoryEntry> = fc
  .record({
    name: fc
      .string({ unit: "binary", minLength: 1, maxLength: 12 })
      .map((name) => name.replaceAll(/[/\0]|\p{Surrogate}/gu, "_"))
      .filter((name) => name !== "." && name !== ".."),
    type: fc.constantFrom("file" as const, "symlink" as const, "directory" as const),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    sizeBytes: fc.nat(2 ** 48),
    mtimeNs: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 63n }),
    uid: fc.nat(2 ** 32 - 1),
    gid: fc.nat(2 ** 32 - 1),
    object: fc.constant(object),
  })
  .map((made) => (made.type === "directory" ? { ...made, sizeBytes: 0 } : made));

test("what is encoded is what is parsed", () => {
  const distinct = fc.uniqueArray(anyEntry, { selector: ({ name }) => name, maxLength: 20 });
  fc.assert(
    fc.property(distinct, (entries) => {
      const summary = buildSummary({ entries, mtimeNs: 5n });
      const bytes = encodeDirectory({ entries, summary });
      const again = parseDirectory(bytes, "test");
      expect(again.damaged).toEqual([]);
      expect(again.summary).toEqual(summary);
      expect([...again.entries].sort((a, b) => compareNames(a.name, b.name))).toEqual(
        [...entries].sort((a, b) => compareNames(a.name, b.name)),
      );
    }),
    { seed: 1, numRuns: 300 },
  );
});

describe("summaries", () => {
  test("failures are counted by kind, ten of them kept, sorted by path", () => {
    const failures = Array.from({ length: 12 }, (_, index) => ({
      path: `f${String(11 - index).padStart(2, "0")}`,
      error: "no",
      ignored: index % 3 === 0,
    }));
    const summary = buildSummary({ entries: [], mtimeNs: 9n, failures, incomplete: "canceled" });
    expect(summary).toMatchObject({ failed: 8, ignoredErrors: 4, maxTimeNs: 9n, directories: 1 });
    expect(summary.incomplete).toBe("canceled");
    expect(summary.errors.map(({ path }) => path)).toEqual(
      Array.from({ length: 10 }, (_, index) => `f0${index}`),
    );
  });

  test("a child's totals are added, its own time and its latest both count", () => {
    const child = buildSummary({
      entries: [entry("f", { sizeBytes: 7, mtimeNs: 50n })],
      mtimeNs: 1n,
    });
    const directory = entry("d", { type: "directory", sizeBytes: 0, mtimeNs: 60n, summary: child });
    const link = entry("l", { type: "symlink", sizeBytes: 99 });
    expect(buildSummary({ entries: [directory, link], mtimeNs: 1000n })).toEqual({
      ...EMPTY_SUMMARY,
      sizeBytes: 7,
      files: 1,
      symlinks: 1,
      directories: 2,
      maxTimeNs: 60n,
    });
  });

  test("a file as the root counts one file and no directory", () => {
    expect(singleFileSummary({ sizeBytes: 4, mtimeNs: 5n })).toEqual({
      ...EMPTY_SUMMARY,
      sizeBytes: 4,
      files: 1,
      maxTimeNs: 5n,
    });
  });
});

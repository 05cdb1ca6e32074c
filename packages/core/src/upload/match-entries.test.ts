import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromUtf8 } from "../base/bytes.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { encodeDirectory, parseDirectory } from "../snapshot/directory.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { entryFromJson } from "../snapshot/entry-json.ts";
import { EntryText } from "../snapshot/entry-text.ts";
import { compareNames } from "../snapshot/entry-name.ts";
import type { KeptEntries } from "../snapshot/kept-entries.ts";
import { buildSummary } from "../snapshot/summary.ts";
import { DIRECTORY, FACTS, LINK, type PackedListing, REGULAR } from "../source/packed-listing.ts";
import { EntryMatcher, withoutKept } from "./match-entries.ts";

const SETTINGS = { seed: 1, numRuns: 300 };
const NS = 1_000_000_000n;
const LOST = parseObjectId("00".repeat(16));

const object = fc
  .tuple(fc.constantFrom("", "I", "Ix", "k"), fc.constantFrom("0123456789abcdef".repeat(2)))
  .map(([prefix, hash]) => parseObjectId(prefix + hash));
const text = new EntryText();
const name = fc
  .oneof(
    fc.stringMatching(/^[a-d]{1,3}$/),
    fc.constantFrom(
      "a&b",
      "a\\b",
      'a"',
      "\u2028",
      "tab\t",
      "\u{1f600}",
      "\uffee",
      "ä b",
      "a!",
      "a ",
    ),
  )
  .filter((one) => one !== "");
const entry: fc.Arbitrary<DirectoryEntry> = fc.record({
  name,
  type: fc.constantFrom("file", "file", "symlink", "directory"),
  mode: fc.constantFrom(0, 0o644, 0o4755, 0o1777),
  sizeBytes: fc.constantFrom(0, 7, Number.MAX_SAFE_INTEGER),
  mtimeNs: fc.oneof(
    fc.constantFrom(0n, -1n, 1n, 1_700_000_000_123_456_789n, 1_700_000_000_100_000_000n),
    fc.bigInt({ min: -62_167_219_200n * NS, max: 253_402_300_799n * NS }),
  ),
  uid: fc.constantFrom(0, 1000),
  gid: fc.constantFrom(0, 4_294_967_295),
  object,
});
const entries = fc
  .uniqueArray(entry, { selector: ({ name: key }) => key, maxLength: 30 })
  .map((all) =>
    all.map((one) =>
      one.type === "directory"
        ? { ...one, sizeBytes: 0, summary: buildSummary({ entries: [], mtimeNs: 1n }) }
        : one,
    ),
  );

function listingOf(live: readonly DirectoryEntry[]): PackedListing {
  const facts = live.flatMap(({ type, mode, sizeBytes, uid, gid, mtimeNs }) => {
    const bits = type === "directory" ? DIRECTORY : type === "file" ? REGULAR : LINK;
    const nanos = ((mtimeNs % NS) + NS) % NS;
    return [bits | mode, sizeBytes, uid, gid, 1, Number((mtimeNs - nanos) / NS), Number(nanos)];
  });
  expect(facts).toHaveLength(live.length * FACTS);
  return {
    names: live.map((one) => one.name).join("/"),
    facts: Float64Array.from(facts),
    digest: "",
  };
}

function match(
  record: Uint8Array,
  live: readonly DirectoryEntry[],
): { kept: KeptEntries | undefined; isKept: Uint8Array; bytes: number } {
  const matcher = new EntryMatcher({
    text,
    record,
    listing: listingOf(live),
    mayKeep: Uint8Array.from(live, ({ name, type }) =>
      name !== "ddd" && type !== "directory" ? 1 : 0,
    ),
    isStored: (id) => id !== (LOST as string),
  });
  while (matcher.step(3)) {
    // in small steps, as long directories are
  }
  return { kept: matcher.result(), isKept: matcher.kept, bytes: matcher.keptBytes };
}

function encode(all: readonly DirectoryEntry[], kept?: KeptEntries): Uint8Array {
  return encodeDirectory({
    entries: all,
    kept,
    summary: buildSummary({ entries: all, kept, mtimeNs: 9n }),
  });
}

function sorted(all: readonly DirectoryEntry[]): readonly DirectoryEntry[] {
  return [...all].sort((a, b) => compareNames(a.name, b.name));
}

describe("of an earlier record", () => {
  test("exactly what is unchanged, plain and stored is kept, and a record made with it is the same as one without", () => {
    const change = fc.tuple(entries, entries, fc.infiniteStream(fc.integer({ min: 0, max: 5 })));
    fc.assert(
      fc.property(change, ([before, added, choices]) => {
        const names = new Set<string>();
        // Some vanish, some change in one way, most stay.
        const live = sorted(
          before
            .flatMap((one): DirectoryEntry[] => {
              const choice = choices.next().value ?? 0;
              const changed = { ...one, mtimeNs: one.mtimeNs + 1n, object: parseObjectId("00") };
              return choice === 0 ? [] : choice === 1 ? [changed] : [one];
            })
            .concat(added)
            .filter((one) => names.size < names.add(one.name).size),
        );
        const record = encode(before);
        const { kept, isKept, bytes } = match(record, live);
        const wanted = live.map(
          (one) => before.includes(one) && one.type !== "directory" && isPlain(one.name),
        );
        expect([...isKept].map(Boolean)).toEqual(wanted);
        const rest = live.filter((_, index) => isKept[index] === 0);
        const sizes = live.filter((_, index) => isKept[index] === 1).map((one) => one.sizeBytes);
        expect(bytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
        if (kept !== undefined) {
          expect(fromUtf8(encode(rest, kept))).toBe(fromUtf8(encode(live)));
          const left = parseDirectory(withoutKept(kept), "rest");
          const all = parseDirectory(record, "all");
          expect(left.exact).toBe(all.exact);
          expect(left.summary).toEqual(all.summary);
          expect(left.entries.map((one) => one.name)).toEqual(
            all.entries.map((one) => one.name).filter((one) => !keptNames(kept).includes(one)),
          );
        }
      }),
      SETTINGS,
    );
  });

  test("an entry whose content is gone, or that has more members, is not kept", () => {
    const one: DirectoryEntry = {
      name: "a",
      type: "file",
      mode: 0o644,
      sizeBytes: 1,
      mtimeNs: 1n,
      uid: 0,
      gid: 0,
      object: LOST,
    };
    const summary = buildSummary({ entries: [], mtimeNs: 1n });
    expect(match(encode([one]), [one]).kept).toBeUndefined();
    const stored = { ...one, object: parseObjectId("01".repeat(16)) };
    expect(match(encode([stored]), [stored]).kept?.ranges).toHaveLength(2);
    expect(match(encode([{ ...stored, summary }]), [stored]).kept).toBeUndefined();
  });

  test("damage never makes it keep what is not there", () => {
    const damaged = fc.tuple(entries, fc.nat(), fc.nat({ max: 255 }), fc.nat({ max: 4 }));
    fc.assert(
      fc.property(damaged, ([before, where, byte, cut]) => {
        const record = encode(before);
        const at = where % record.length;
        record[at] = byte;
        record.copyWithin(at, at + cut);
        const live = sorted(before);
        const { kept, isKept } = match(record, live);
        const found = kept === undefined ? [] : keptEntries(kept);
        expect(found.map((one) => one.name)).toEqual(
          live.filter((_, index) => isKept[index] === 1).map((one) => one.name),
        );
        for (const one of found) {
          const now = live.find((other) => other.name === one.name);
          expect({ ...one, object: now?.object as ObjectId }).toEqual(now); // only the id may be another
        }
      }),
      SETTINGS,
    );
  });
});

function isPlain(key: string): boolean {
  return key !== "ddd" && JSON.stringify(key) === `"${key}"` && !/[&\u2028]/.test(key);
}

function keptEntries({ record, ranges }: KeptEntries): DirectoryEntry[] {
  return Array.from({ length: ranges.length / 2 }, (_, index) =>
    entryFromJson(JSON.parse(fromUtf8(record.subarray(ranges[index * 2], ranges[index * 2 + 1])))),
  );
}

function keptNames(kept: KeptEntries): string[] {
  return keptEntries(kept).map((one) => one.name);
}

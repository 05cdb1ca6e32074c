import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Dataset, DATASETS, prepareDataset, withChange } from "./datasets.ts";
import { fillRandom, fillText, seedOf } from "./random.ts";

const SMALLEST = 0.0001;
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-bench-test-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Path and hash of every file. */
function contentsOf(path: string): Map<string, string> {
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return new Map(
    files.map((file) => [
      file.slice(path.length + 1),
      createHash("sha256").update(readFileSync(file)).digest("hex"),
    ]),
  );
}

function digestOf(contents: ReadonlyMap<string, string>): string {
  return createHash("sha256")
    .update(JSON.stringify([...contents]))
    .digest("hex")
    .slice(0, 16);
}

const KNOWN: Readonly<Record<string, string>> = {
  image: "0fbd8d4cfbb1a109",
  source: "87a745db02ae64a8",
  tiny: "f9b2132c16b98b0b",
  database: "a1b55f8afd87de70",
};

test.each(DATASETS.map((dataset): [string, Dataset] => [dataset.name, dataset]))(
  "%s: the same bytes on every machine, and again after the small change is taken back",
  async (name, dataset) => {
    const prepared = prepareDataset(dataset, directory, SMALLEST);
    const before = contentsOf(prepared.path);
    expect(before.size).toBe(prepared.files);
    expect(digestOf(before)).toBe(KNOWN[name]);
    let during = before;
    await withChange(dataset, { path: prepared.path, scale: SMALLEST }, async () => {
      during = contentsOf(prepared.path);
    });
    expect(during).not.toEqual(before);
    expect(contentsOf(prepared.path)).toEqual(before);
  },
);

test("exactly one database page of a hundred is changed, and the image is changed in whole blocks", async () => {
  for (const [name, unit, expected] of [
    ["database", 8192, 2],
    ["image", 65_536, 1],
  ] as const) {
    const dataset = DATASETS.find((dataset) => dataset.name === name);
    if (dataset === undefined) {
      throw new Error(name);
    }
    const { path } = prepareDataset(dataset, directory, SMALLEST);
    const file = join(path, name === "database" ? "data.db" : "disk.img");
    const before = readFileSync(file);
    let changed = 0;
    await withChange(dataset, { path, scale: SMALLEST }, async () => {
      const after = readFileSync(file);
      for (let at = 0; at < before.length; at += unit) {
        changed += before.subarray(at, at + unit).equals(after.subarray(at, at + unit)) ? 0 : 1;
      }
    });
    expect(changed).toBe(expected);
  }
});

test("a dataset is reused, but not one whose change was cut short", async () => {
  const [, , tiny] = DATASETS;
  if (tiny === undefined) {
    throw new Error("no dataset");
  }
  const { path } = prepareDataset(tiny, directory, SMALLEST);
  writeFileSync(join(path, "marker"), "");
  expect(prepareDataset(tiny, directory, SMALLEST).files).toBe(1001);
  rmSync(`${path}.ready`);
  expect(prepareDataset(tiny, directory, SMALLEST).files).toBe(1000);
});

test("a change is taken back when what is done meanwhile fails", async () => {
  const dataset: Dataset = {
    name: "one",
    title: "",
    changeTitle: "",
    generate: (path) => writeFileSync(join(path, "file"), "0"),
    change: (path, _scale, version) => writeFileSync(join(path, "file"), String(version)),
  };
  mkdirSync(join(directory, "x"));
  const { path } = prepareDataset(dataset, join(directory, "x"), 1);
  const failing = withChange(dataset, { path, scale: 1 }, async () => {
    expect(readFileSync(join(path, "file"), "utf8")).toBe("1");
    throw new Error("meanwhile");
  });
  await expect(failing).rejects.toThrow("meanwhile");
  expect(readFileSync(join(path, "file"), "utf8")).toBe("0");
});

test("bytes depend on the seed alone, whatever their count, and a shorter text is the start of a longer one", () => {
  for (const fill of [fillRandom, fillText]) {
    const [long, short, other] = [new Uint8Array(1003), new Uint8Array(500), new Uint8Array(1003)];
    fill(long, seedOf(1));
    fill(short, seedOf(1));
    fill(other, seedOf(2));
    expect(long.subarray(0, 500)).toEqual(short);
    expect(other).not.toEqual(long);
    expect(new Set(long).size).toBeGreaterThan(20);
  }
});

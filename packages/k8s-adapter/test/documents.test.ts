import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";

/** What is written down stays true: the table of claims, and the resource definitions. */

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const document = readFileSync(at("../../../docs/kubernetes.md"), "utf8");
/** Number and text of every row of the table of claims. */
const rows = [...document.matchAll(/^\| (\d+[a-c]?) \| (.*) \|$/gm)].map(
  ([, number = "", text = ""]) => ({ number, text }),
);

test("the table of claims has every claim once, and each is shown or said not to be", () => {
  const numbers = Array.from({ length: 44 }, (_, index) => String(index + 1));
  numbers.splice(21, 0, "21a", "21b", "21c");
  expect(rows.map(({ number }) => number)).toEqual(numbers);
  const open = rows.filter(
    ({ text }) => !/"|Not shown here, because |Rows? \d+|has no test/.test(text),
  );
  expect(open).toEqual([]);
});

test("every test that the table names is there", () => {
  const names = new Set<string>();
  for (const file of testFiles()) {
    const calls = readFileSync(file, "utf8").matchAll(/\b(?:test|describe)\(\s*(["`])(.*?)\1,/g);
    for (const [, , name = ""] of calls) {
      names.add(name.replaceAll(/\$\{[^}]*\}/g, "…"));
    }
  }
  // Those of the table, and of the chapters before it that name tests.
  const [, chapters = ""] = document.split("## Volume repositories");
  const named = [...chapters.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name);
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter((name) => !names.has(name))).toEqual([]);
});

test("our resource definitions have Velero's schemas and columns", () => {
  const ours = readdirSync(at("../crds")).filter((name) => name.startsWith("velero.io_"));
  const theirs = readdirSync(at("fixtures/velero-crds")).filter((name) => name.endsWith(".yaml"));
  expect(ours.toSorted()).toEqual(theirs.toSorted());
  const { resources } = parse(readFileSync(at("../crds/kustomization.yaml"), "utf8")) as {
    resources: readonly string[];
  };
  expect(resources.toSorted()).toEqual(theirs.toSorted());
  for (const name of theirs) {
    const mine = definition(at(`../crds/${name}`));
    const original = definition(at(`fixtures/velero-crds/${name}`));
    expect(mine.names, name).toEqual(original.names);
    expect(mine.versions, name).toEqual(original.versions);
    expect(mine.columns, name).toEqual(expect.arrayContaining(original.columns));
  }
});

function testFiles(): string[] {
  return ["../src", ".", "../../core/src"].map(at).flatMap((folder) =>
    readdirSync(folder, { encoding: "utf8", recursive: true })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => join(folder, name)),
  );
}

interface Definition {
  readonly spec: {
    readonly names: object;
    readonly versions: readonly {
      readonly additionalPrinterColumns?: readonly {
        readonly name: string;
        readonly jsonPath: string;
        readonly type: string;
      }[];
      readonly [member: string]: unknown;
    }[];
  };
}

/** Without descriptions, and with lists that are sets in order; columns apart, of which we may show more. */
function definition(file: string): { names: unknown; versions: unknown; columns: unknown[] } {
  const { spec } = parse(readFileSync(file, "utf8")) as Definition;
  const versions = spec.versions.map(({ additionalPrinterColumns: _, ...version }) => ({
    subresources: {},
    ...version,
  }));
  const columns = spec.versions.flatMap((version) => version.additionalPrinterColumns ?? []);
  return {
    names: plain(spec.names),
    versions: plain(versions),
    columns: columns.map(({ name, jsonPath, type }) => ({ name, jsonPath, type })),
  };
}

function plain(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) {
    const items: unknown[] = value.map((item: unknown) => plain(item));
    return ["enum", "required", "shortNames"].includes(key) ? items.map(String).toSorted() : items;
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      // A property may be called so, too: then it is a schema, and no text.
      .filter(([name, member]) => name !== "description" || typeof member !== "string")
      .map(([name, member]) => [name, plain(member, name)]),
  );
}

import { expect, test } from "vitest";
import { createNamespaceFilter } from "./namespace-filter.ts";

const existing = ["blog", "default", "scratch", "shop"];
const filter = (included?: string[], excluded?: string[], labelled: string[] = []) =>
  createNamespaceFilter(
    { includedNamespaces: included ?? null, excludedNamespaces: excluded ?? null },
    { existing, labelled },
  );

test("everything is what the user asked for, whatever is labelled for exclusion", () => {
  const all = filter(["*"], ["scratch"], ["scratch"]);
  expect([all.everything, all.listed, all.includes("scratch"), all.includes("shop")]).toEqual([
    true,
    "all",
    false,
    true,
  ]);
  expect(filter(undefined, ["blog"]).everything).toBe(false);
});

test("patterns are matched to what is there; none that matches means none", () => {
  expect(filter(["s?op", "bl*"]).listed).toEqual(["blog", "shop"]);
  expect(filter(["*o*"], ["sh*"]).listed).toEqual(["blog"]);
  expect(filter(["zz*"])).toMatchObject({ listed: [], matchesNothing: true, missing: [] });
});

test("a name that is not there is told", () => {
  const some = filter(["shop", "gone"]);
  expect(some).toMatchObject({ listed: ["shop"], missing: ["gone"], matchesNothing: false });
});

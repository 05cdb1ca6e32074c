import fc from "fast-check";
import { expect, test } from "vitest";
import { globMatch } from "./glob.ts";

test("patterns match as a shell's do, and text without one is taken literally", () => {
  const cases: [string, string, boolean][] = [
    ["s?op", "shop", true],
    ["s?op", "sop", false],
    ["bl*", "blog", true],
    ["*", "", true],
    ["*.apps", "deployments.apps", true],
    ["a*b*c", "axxbyyc", true],
    ["a*b*c", "axxbyy", false],
    ["ns-[0-3]", "ns-2", true],
    ["ns-[!0-3]", "ns-2", false],
    ["shop", "shop", true],
    ["a.b", "axb", false],
  ];
  for (const [pattern, text, matches] of cases) {
    expect(globMatch(pattern, text), `${pattern} ${text}`).toBe(matches);
  }
});

test("any pattern answers at once, also one that would keep a regular expression busy", () => {
  expect(globMatch("a*".repeat(40) + "b", "a".repeat(2000))).toBe(false);
  fc.assert(
    fc.property(fc.string(), fc.string(), (pattern, text) => {
      expect(globMatch(`*${text}`, text) || /[*?[]/.test(text)).toBe(true);
      expect(typeof globMatch(pattern, text)).toBe("boolean");
    }),
    { seed: 1, numRuns: 500 },
  );
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { type IgnoreContext, createIgnoreRules, parseIgnoreLines } from "./ignore.ts";
import { compilePattern, matchesPath } from "./ignore-pattern.ts";
import { type PolicyTree, policyTree } from "./policy-tree.ts";
import type { Policy } from "./policy.ts";

const source = { host: "h", userName: "u", path: "/s" };

function tree(policies: Readonly<Record<string, Policy>> = {}): PolicyTree {
  return policyTree(
    source,
    Object.entries(policies).map(([path, policy]) => ({
      target: { type: "path", ...source, path },
      policy,
    })),
  );
}

/** Whether the rules leave out `path` itself; a final slash means a directory. */
function ignores(lines: readonly string[], path: string): boolean {
  const isDirectory = path.endsWith("/");
  const components = path.split("/").filter((part) => part !== "");
  const policy = tree();
  let context: IgnoreContext = createIgnoreRules({ policy, dotIgnoreLines: lines });
  for (const name of components.slice(0, -1)) {
    context = context.enter(name, { policy });
  }
  return context.isIgnored(components.at(-1) ?? "", isDirectory);
}

describe("one rule", () => {
  test.each([
    // anywhere below, or anchored by a slash that is not at the end
    ["a.txt", "a.txt", true],
    ["a.txt", "d/e/a.txt", true],
    ["/a.txt", "a.txt", true],
    ["/a.txt", "d/a.txt", false],
    ["d/a.txt", "d/a.txt", true],
    ["d/a.txt", "e/d/a.txt", false],
    ["./a", "a", false],
    // case matters
    ["abc", "AbC", false],
    ["[A-F]", "c", false],
    // directories only
    ["foo/", "foo", false],
    ["foo/", "foo/", true],
    ["foo/", "bar/foo/", true],
    ["*/", ".git/", true],
    ["foo/**/bar/", "foo/bar", false],
    ["foo/**/bar/", "foo/xx/yy/bar/", true],
    ["/", "a/", false],
    // wildcards
    ["*.txt", "d/a.txt", true],
    ["/*.txt", "d/a.txt", false],
    ["ab*cd", "abxxxcd", true],
    ["ab***cd", "abxxxcd", true],
    ["a*b*c", "aXbYbZc", true],
    ["a*b*c", "aXbYbZ", false],
    ["/a*/c", "ab/x/c", false],
    ["?*?", "abc", true],
    ["???", "ab", false],
    ["?", "\u{1f600}", true],
    ["a?b", "a/b", false],
    // double stars
    ["**", "foo/bar", true],
    ["**/a", "x/y/a", true],
    ["a/**/b", "a/b", true],
    ["a/**/b", "a/c/d/b", true],
    ["/a/**/b/f", "a/b/c/b/f", true],
    ["/a/**/b/f", "a/b/c/d/f", false],
    ["/foo/**/bar/**/p", "foo/x/x/bar/x/y/p", true],
    ["dir/**", "dir/x/y", true],
    ["dir/**", "dir/", false],
    ["**foo", "x/yfoo", true],
    ["**foo/bar", "a/b/xfoo/bar", true],
    ["ab**", "ab/cd", false],
    // sets
    ["ab[cd]", "abc", true],
    ["ab[!de]", "abc", true],
    ["ab[!de]", "abd", false],
    ["ab[^c]", "ab^", true],
    ["ab[^d]", "abc", false],
    ["[a-d]", "e", false],
    ["[a-\\z]", "q", true],
    ["[-abc]", "-", true],
    ["[abc-]", "-", true],
    ["[a\\-c]", "b", false],
    ["[a\\-c]", "-", true],
    ["[[]", "[", true],
    ["[\\]]", "]", true],
    ["[!\\\\]", "\\", false],
    ["[[:ab]", ":", true],
    ["[[:ab]", "c", false],
    ["[]", "a", false],
    // escapes
    ["\\#a", "#a", true],
    ["\\!a", "!a", true],
    ["foo\\.txt", "foo.txt", true],
    ["\\*", "*", true],
    ["\\*", "a", false],
    ["a\\\\b", "a\\b", true],
    // white space
    ["  \tfoo", "foo", true],
    ["  foo  ", "foo", true],
    [" foo\\ ", "foo ", true],
    ["foo\r", "foo", true],
    ["a b", "a b", true],
  ])("%j on %j: %j", (rule, path, expected) => {
    expect(ignores([rule], path)).toBe(expected);
  });

  test.each([
    ["alnum", ["c", "3", "Q", "Б"], [".", " "]],
    ["alpha", ["c", "Б"], ["3", "."]],
    ["ascii", ["c", " "], ["Б"]],
    ["blank", [" ", "\t"], ["c", "\n"]],
    ["cntrl", ["\t", "\n"], ["c", " "]],
    ["digit", ["3", "۳"], ["c"]],
    ["graph", ["c", "۳", " "], ["\n"]],
    ["lower", ["c", "ε"], ["C", "3", "Б"]],
    ["print", ["c", "Б", " "], ["\n", "\u00a0"]],
    ["punct", [".", "!", "$"], ["c", " "]],
    ["space", [" ", "\t", "\n"], ["c"]],
    ["upper", ["C", "Б"], ["c", "ε"]],
    ["xdigit", ["a", "F", "3"], ["g", "Б"]],
  ])("[[:%s:]]", (name, inside, outside) => {
    const of = (characters: readonly string[]): boolean[] =>
      characters.map((character) =>
        ignores([`long name [[:${name}:]x]`], `long name ${character}`),
      );
    expect(of(inside)).toEqual(inside.map(() => true));
    expect(of(outside)).toEqual(outside.map(() => false));
    expect(ignores([`[![:${name}:]]`], outside[0] ?? "")).toBe(true);
  });

  test.each(["[a", "[a-", "\\", "a\\", "[\\", "[a-\\", "[[:alnum", "[[:alnum:]", "[[:foobar:]]"])(
    "%j fails the directory",
    (rule) => {
      expect(() => ignores([rule], "a")).toThrow(
        expect.objectContaining({ code: "invalid-argument" }),
      );
    },
  );

  test("a rule made to be slow is not", () => {
    const hard = compilePattern(`${"*a".repeat(40)}b`);
    expect(matchesPath(hard, ["a".repeat(250)], 0, false)).toBe(false);
    const deep = compilePattern(`${"**/a/".repeat(40)}b`);
    expect(
      matchesPath(
        deep,
        Array.from({ length: 250 }, () => "a"),
        0,
        false,
      ),
    ).toBe(false);
  });

  test("any rule compiles or fails with a VarveError, and matching ends", () => {
    const rule = fc.string({ unit: fc.constantFrom(...Array.from("a/*?[]!\\:-^ #é😀")) });
    fc.assert(
      fc.property(fc.oneof(rule, fc.string()), rule, (text, path) => {
        try {
          expect(typeof matchesPath(compilePattern(text), path.split("/"), 0, true)).toBe(
            "boolean",
          );
        } catch (error) {
          expect(isVarveError(error, "invalid-argument")).toBe(true);
        }
      }),
      { seed: 1, numRuns: 3000 },
    );
  });
});

describe("several rules", () => {
  test("the last that matches wins", () => {
    expect(ignores(["*.log", "!keep.log"], "keep.log")).toBe(false);
    expect(ignores(["!keep.log", "*.log"], "keep.log")).toBe(true);
    expect(ignores(["*.log", "!keep.log", "k*"], "keep.log")).toBe(true);
    expect(ignores(["foo", "!foo/"], "foo")).toBe(true);
    expect(ignores(["foo", "!foo/"], "foo/")).toBe(false);
  });

  test("comments and blank lines are no rules; an escaped hash is one", () => {
    expect(parseIgnoreLines(utf8("# c\r\n\r\n  \n*.a\r\n \\#x\n!b"))).toEqual([
      "*.a",
      " \\#x",
      "!b",
    ]);
  });
});

describe("contexts", () => {
  test("a rule counts from the directory of its file", () => {
    const policy = tree();
    const child = createIgnoreRules({ policy, dotIgnoreLines: ["/top"] }).enter("d", {
      policy,
      dotIgnoreLines: ["/here", "any", "e/deep"],
    });
    expect(child.isIgnored("top", false)).toBe(false);
    expect(child.isIgnored("here", false)).toBe(true);
    const grandchild = child.enter("e", { policy });
    expect(grandchild.isIgnored("here", false)).toBe(false);
    expect(grandchild.isIgnored("any", false)).toBe(true);
    expect(grandchild.isIgnored("deep", false)).toBe(true);
  });

  test("a child's file brings back what the parent's left out", () => {
    const policy = tree();
    const root = createIgnoreRules({ policy, dotIgnoreLines: ["build/"] });
    const child = root.enter("d", { policy, dotIgnoreLines: ["!build/"] });
    expect(root.isIgnored("build", true)).toBe(true);
    expect(child.isIgnored("build", true)).toBe(false);
    expect(child.enter("x", { policy }).isIgnored("build", true)).toBe(false);
  });

  test("the root takes its effective rules, a directory below those defined exactly there", () => {
    const policy = tree({
      "/": { files: { ignore: ["*.a"] } },
      "/s/d": { files: { ignore: ["/b"] } },
    });
    const root = createIgnoreRules({ policy });
    const child = root.enter("d", { policy: policy.child("d") });
    expect(root.isIgnored("x.a", false)).toBe(true);
    expect(root.isIgnored("b", false)).toBe(false);
    expect(child.isIgnored("x.a", false)).toBe(true);
    expect(child.isIgnored("b", false)).toBe(true);
    expect(child.enter("e", { policy: policy.child("d").child("e") }).isIgnored("b", false)).toBe(
      false,
    );
  });

  test("noParentIgnore of a directory's own policy drops the rules from above", () => {
    const policy = tree({
      "/s": { files: { ignore: ["*.a"] } },
      "/s/d": { files: { ignore: ["*.b"], noParentIgnore: true } },
    });
    const child = createIgnoreRules({ policy }).enter("d", { policy: policy.child("d") });
    expect(child.isIgnored("x.a", false)).toBe(false);
    expect(child.isIgnored("x.b", false)).toBe(true);
  });
});

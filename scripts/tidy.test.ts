import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { findings, type SourceFile } from "./tidy.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

function tracked(...patterns: string[]): string[] {
  return execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", ...patterns],
    {
      cwd: root,
      encoding: "utf8",
    },
  )
    .split("\n")
    .filter((path) => path !== "");
}

const sources = (): SourceFile[] =>
  tracked("packages/*/src/**.ts", "packages/*/test/**.ts", "bench/**.ts", "scripts/*.ts").map(
    (path) => ({
      path,
      text: readFileSync(root + path, "utf8"),
    }),
  );

test("the source keeps the order of the layers, the lengths and the bans", () => {
  const files = sources();
  expect(files.length).toBeGreaterThan(30);
  expect(findings(files)).toEqual([]);
});

test("no file names a registry host or a path of some machine", () => {
  const hosts = new RegExp(
    [
      "registry\\.npmjs",
      "registry\\.yarnpkg",
      "proxy\\.golang",
      "/root/",
      "/home/[a-z]+/",
      "/work/",
    ].join("|"),
  );
  const texts = tracked("*.ts", "*.mjs", "*.json", "*.yaml", "*.md", ".ci/*").filter(
    (path) => path !== "scripts/tidy.test.ts" && !path.includes("/fixtures/"),
  );
  expect(texts.filter((path) => hosts.test(readFileSync(root + path, "utf8")))).toEqual([]);
});

function at(path: string, text: string): string[] {
  return findings([{ path, text }]);
}

test("each rule finds what it is there for", () => {
  expect(at("packages/core/src/index/a.ts", 'import { b } from "../content/b.ts";\n')).toHaveLength(
    1,
  );
  expect(
    at("packages/core/src/crypto/a.ts", 'import { b } from "../compression/b.ts";\n'),
  ).toHaveLength(1);
  expect(at("packages/core/src/content/a.ts", 'import { b } from "../index/b.ts";\n')).toEqual([]);
  expect(at("packages/core/src/content/a.ts", 'import fs from "node:fs";\n')).toHaveLength(1);
  expect(at("packages/core/src/content/a.ts", "const now = Date.now();\n")).toHaveLength(1);
  expect(at("packages/core/src/content/a.ts", "// why Date.now() is not used\n")).toEqual([]);
  expect(at("packages/core/src/content/a.ts", "x;\n".repeat(501))).toHaveLength(1);
  const long = `function f(): void {\n${"  x();\n".repeat(70)}}\n`;
  expect(at("packages/core/src/content/a.ts", long)).toHaveLength(1);
  expect(at("packages/cli/src/a.test.ts", 'test.only("x", () => {});\n')).toHaveLength(1);
});

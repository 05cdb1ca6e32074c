import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inventory, makeTree } from "../trees/make-tree.ts";
import { type InstalledPackages, installPacked } from "./install-packed.ts";

/** The package as a stranger gets it: packed, installed into an empty folder, compiled against, run. */

const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
const projectRoot = fileURLToPath(new URL("../../../../", import.meta.url));
const require = createRequire(import.meta.url);
let installed: InstalledPackages;

beforeAll(() => {
  installed = installPacked(["core"]);
  copyFileSync(join(packageRoot, "example/ten-lines.ts"), join(installed.folder, "ten-lines.ts"));
});

afterAll(() => installed[Symbol.dispose]());

test("the example compiles against the types of the package, strictly, and runs", () => {
  const { folder, run } = installed;
  const typeRoots = dirname(
    dirname(require.resolve("@types/node/package.json", { paths: [projectRoot] })),
  );
  const compiler = {
    target: "ES2022",
    lib: ["ES2023", "ESNext.Disposable"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ["node"],
    typeRoots: [typeRoots],
    outDir: "out",
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: compiler, files: ["ten-lines.ts"] }),
  );
  run(process.execPath, [join(projectRoot, "node_modules/typescript/bin/tsc"), "-p", "."]);

  const data = join(folder, "data");
  mkdirSync(data);
  makeTree(data, { seed: "example" });
  const output = run(process.execPath, [
    join(folder, "out/ten-lines.js"),
    data,
    join(folder, "storage"),
    join(folder, "restored"),
  ]);
  expect(output).toContain("bytes read");
  expect(output).toContain(readFileSync(join(data, "docs/text.txt"), "utf8").slice(0, 24));
  expect(output).toMatch(/restored 5\d files, 0 failures\nretention deleted 0 snapshots\n$/);
  expect(inventory(join(folder, "restored"))).toEqual(inventory(data));
});

test("the README shows this very example", () => {
  const example = readFileSync(join(packageRoot, "example/ten-lines.ts"), "utf8");
  expect(readFileSync(join(projectRoot, "README.md"), "utf8")).toContain(example.trim());
});

test("importing the package does nothing and the entries are the promised ones", () => {
  const script = `
    const sideEffects = () => JSON.stringify([Object.keys(globalThis), process.eventNames().map((name) => process.listenerCount(name))]);
    const before = sideEffects();
    const core = await import("@varve/core");
    await import("@varve/core/blob");
    await import("@varve/core/testing");
    console.log(JSON.stringify([typeof core.openRepository, sideEffects() === before]));
    await import("@varve/core/dist/index.js").catch((error) => console.log(error.code));
  `;
  expect(installed.run(process.execPath, ["--input-type=module", "-e", script])).toBe(
    '["function",true]\nERR_PACKAGE_PATH_NOT_EXPORTED\n',
  );
});

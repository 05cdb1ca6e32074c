import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inventory, makeTree } from "../trees/make-tree.ts";

/** The package as a stranger gets it: packed, installed into an empty folder, compiled against, run. */

const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
const projectRoot = fileURLToPath(new URL("../../../../", import.meta.url));
const require = createRequire(import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "varve-package-"));
const environment = {
  ...process.env,
  npm_config_update_notifier: "false",
  npm_config_audit: "false",
  npm_config_fund: "false",
};

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

beforeAll(() => {
  const { config } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    config: { pnpm: string };
  };
  run(
    "npm",
    [
      "exec",
      "--yes",
      `--package=${config.pnpm}`,
      "--",
      "pnpm",
      "pack",
      "--pack-destination",
      folder,
    ],
    packageRoot,
  );
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run("npm", ["install", "--no-save", "--prefer-offline", `./${tarball}`], folder);
  copyFileSync(join(packageRoot, "example/ten-lines.ts"), join(folder, "ten-lines.ts"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the example compiles against the types of the package, strictly, and runs", () => {
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
  run(process.execPath, [join(projectRoot, "node_modules/typescript/bin/tsc"), "-p", "."], folder);

  const data = join(folder, "data");
  mkdirSync(data);
  makeTree(data, { seed: "example" });
  const output = run(
    process.execPath,
    [join(folder, "out/ten-lines.js"), data, join(folder, "storage"), join(folder, "restored")],
    folder,
  );
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
  expect(run(process.execPath, ["--input-type=module", "-e", script], folder)).toBe(
    '["function",true]\nERR_PACKAGE_PATH_NOT_EXPORTED\n',
  );
});

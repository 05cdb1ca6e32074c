// Everything a change must pass, in the order of what fails fastest: format, lint, types, dead code, package shape,
// then the tests. One command, here and in CI.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = ["core", "storage-s3", "storage-azure", "storage-gcs", "k8s-adapter", "cli"].map(
  (name) => `packages/${name}`,
);

/** @type {[string, string, string[]][]} */
const steps = [
  ["setup", "node", ["scripts/setup.mjs", "--quiet"]],
  ["format", "biome", ["format", "."]],
  ["lint", "oxlint", ["--type-aware", "--deny-warnings"]],
  ...[...packages, "testenv"].map((name) => [`types of tests: ${name}`, "tsc", ["-p", name]]),
  ["dead code", "knip", []],
  ...packages.map((name) => [
    `package shape: ${name}`,
    "publint",
    [name, "--pack", "npm", "--strict"],
  ]),
  ["package types", "attw", ["--pack", "packages/core", "--profile", "esm-only"]],
  ...(process.argv.includes("--no-tests") ? [] : [["tests", "vitest", ["run"]]]),
];

for (const [name, command, args] of steps) {
  const local = `${root}node_modules/.bin/${command}`;
  const result = spawnSync(existsSync(local) ? local : command, args, {
    cwd: root,
    stdio: "pipe",
    encoding: "utf8",
  });
  const ok = result.status === 0;
  process.stdout.write(`${ok ? "ok  " : "FAIL"} ${name}\n`);
  if (!ok) {
    process.stdout.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}\n`);
    process.exit(1);
  }
}

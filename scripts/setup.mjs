// Makes a fresh clone ready with nothing but Node and npm: installs the locked dependencies with the pinned
// pnpm, then builds and bundles. Does only what is missing, so that it can stand before every root script.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const quiet = process.argv.includes("--quiet");
// `config.pnpm` and not `packageManager`: pnpm 12 refuses a frozen lock file that does not record itself.
const { engines, config } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

function run(command, args) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: quiet ? ["ignore", "pipe", "pipe"] : "inherit",
    encoding: "utf8",
    env: { ...process.env, npm_config_update_notifier: "false" },
  });
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}`);
    process.stderr.write(
      `setup: ${command} ${args.join(" ")} failed: ${result.error ?? `exit ${result.status}`}\n`,
    );
    process.exit(1);
  }
}

function newerThan(path, other) {
  return existsSync(path) && statSync(path).mtimeMs >= statSync(other).mtimeMs;
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`setup: Node ${engines.node} is needed, this is ${process.versions.node}\n`);
  process.exit(1);
}

const installed = `${root}node_modules/.modules.yaml`;
const inputs = ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"].map((name) => root + name);
if (!inputs.every((input) => newerThan(installed, input))) {
  process.stderr.write("setup: installing dependencies\n");
  run("npm", [
    "exec",
    "--yes",
    `--package=${config.pnpm}`,
    "--",
    "pnpm",
    "install",
    "--frozen-lockfile",
  ]);
}
run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-b"]);
run(process.execPath, [`${root}scripts/bundle.mjs`]);

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

const projectRoot = fileURLToPath(new URL("../../../../", import.meta.url));

/** Packages as a stranger gets them: packed, and installed into an empty folder. */
export interface InstalledPackages extends Disposable {
  readonly folder: string;
  /** Runs a command in the folder and gives its standard output. */
  readonly run: (
    command: string,
    args: readonly string[],
    environment?: NodeJS.ProcessEnv,
  ) => string;
}

/** Installs packages of this project, by their folders below `packages`, and nothing of the workspace with them. */
export function installPacked(names: readonly string[]): InstalledPackages {
  const folder = mkdtempSync(join(tmpdir(), "varve-package-"));
  const { config } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    config: { pnpm: string };
  };
  for (const name of names) {
    const pack = ["pnpm", "pack", "--pack-destination", folder];
    const args = ["exec", "--yes", `--package=${config.pnpm}`, "--", ...pack];
    runIn(join(projectRoot, "packages", name), "npm", args);
  }
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  expect(tarballs).toHaveLength(names.length);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const paths = tarballs.map((name) => `./${name}`);
  runIn(folder, "npm", ["install", "--no-save", "--prefer-offline", ...paths]);
  return {
    folder,
    run: (command, args, environment) => runIn(folder, command, args, environment),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function runIn(
  cwd: string,
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    env: {
      ...process.env,
      npm_config_update_notifier: "false",
      npm_config_audit: "false",
      npm_config_fund: "false",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

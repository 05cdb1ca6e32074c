// Joins what `tsc -b` made of core and of the command into a few files: a program that starts for one small backup would spend
// more time on opening two hundred modules than on its work. Entries share their chunks, so that every class exists once.
// Dependencies stay outside: they are found from the package's own folder, and most are loaded only when they are needed. But for two of
// many small modules that every start needs.
import { createRequire } from "node:module";
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const core = fileURLToPath(new URL("../packages/core/dist/", import.meta.url));
const cli = fileURLToPath(new URL("../packages/cli/dist/", import.meta.url));

const OPTIONS = {
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  logLevel: "warning",
  legalComments: "inline",
  plugins: [
    {
      name: "needed by every start",
      setup: (bundler) =>
        bundler.onResolve(
          { filter: /^(commander|@noble\/hashes\/.*)$/ },
          ({ path, resolveDir }) => ({
            path: createRequire(`${resolveDir}/`).resolve(path),
          }),
        ),
    },
  ],
};

/** Writes `packages/core/dist/bundle` and `packages/cli/dist`, in a fifth of a second. Under this name tests call it before they run programs. */
export async function setup() {
  rmSync(`${core}bundle`, { recursive: true, force: true });
  for (const name of readdirSync(cli).filter((entry) => entry.endsWith(".js"))) {
    rmSync(cli + name);
  }
  await build({
    ...OPTIONS,
    entryPoints: {
      index: `${core}index.js`,
      blob: `${core}blob/index.js`,
      format: `${core}format/index.js`,
      testing: `${core}testing/index.js`,
      "local-list-worker": `${core}source/local-list-worker.js`,
      "worker-entry": `${core}pipeline/worker-entry.js`,
      "local-writer-entry": `${core}restore/local-writer-entry.js`,
    },
    outdir: `${core}bundle`,
  });
  await build({
    ...OPTIONS,
    entryPoints: { main: `${cli}modules/main.js`, program: `${cli}modules/program.js` },
    outdir: cli,
    banner: {
      js: 'import { createRequire as commonRequire } from "node:module"; const require = commonRequire(import.meta.url);',
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setup();
}

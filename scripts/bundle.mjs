// Joins what `tsc -b` made of core into a few files: a program that starts for one small backup would spend more time on
// opening a hundred and sixty modules than on its work. Entries share their chunks, so that every class exists once.
// Dependencies stay outside: they are found from core's own folder, and most are loaded only when they are needed.
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../packages/core/dist/", import.meta.url));

/** Writes `packages/core/dist/bundle`, in a tenth of a second. Under this name tests call it before they run programs. */
export async function setup() {
  const outdir = `${dist}bundle`;
  rmSync(outdir, { recursive: true, force: true });
  await build({
    entryPoints: {
      index: `${dist}index.js`,
      blob: `${dist}blob/index.js`,
      format: `${dist}format/index.js`,
      testing: `${dist}testing/index.js`,
      "local-list-worker": `${dist}source/local-list-worker.js`,
      "worker-entry": `${dist}pipeline/worker-entry.js`,
      "local-writer-entry": `${dist}restore/local-writer-entry.js`,
    },
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setup();
}

// Joins what `tsc -b` made of core and of the command into a few files: a program that starts for one small backup would spend
// more time on opening two hundred modules than on its work. Entries of core share their chunks, so that every class exists once.
// The command holds core itself, and is one CommonJS file, which Node opens sooner still. Dependencies stay outside: they are found
// from the package's own folder, and most are loaded only when they are needed. But for two of many small modules that every start needs.
import { createRequire } from "node:module";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const core = fileURLToPath(new URL("../packages/core/dist/", import.meta.url));
const cli = fileURLToPath(new URL("../packages/cli/dist/", import.meta.url));

/** @type {import("esbuild").Plugin} */
const SMALL_MODULES = {
  name: "needed by every start",
  setup: (bundler) =>
    bundler.onResolve({ filter: /^(commander|@noble\/hashes\/.*)$/ }, ({ path, resolveDir }) => ({
      path: createRequire(`${resolveDir}/`).resolve(path),
    })),
};

/** @type {import("esbuild").Plugin} */
const CORE_INSIDE = {
  name: "core inside the command",
  setup: (bundler) => {
    bundler.onResolve({ filter: /^@varve\/core($|\/)/ }, ({ path }) => ({
      path: `${core}${path.slice("@varve/core/".length)}/index.js`,
      sideEffects: false,
    }));
    bundler.onResolve({ filter: /^\.\/program\.js$/ }, ({ path }) => ({ path, external: true }));
    // Core's dependencies are found from its own package: the command need not have them. Some are modules that only `import` takes, and small.
    bundler.onResolve({ filter: /^@noble\/ciphers\/.*$/ }, ({ path, resolveDir }) => ({
      path: createRequire(`${resolveDir}/`).resolve(path),
    }));
    bundler.onResolve({ filter: /^hash-wasm$/ }, ({ path }) => ({ path, namespace: "of core" }));
    bundler.onLoad({ filter: /.*/, namespace: "of core" }, ({ path }) => ({
      contents: `module.exports = require("node:module").createRequire(coreUrl)("${path}");`,
    }));
    // From there comes the thread, too, that no CommonJS file can be made of.
    bundler.onLoad({ filter: /[\\/]core[\\/]dist[\\/].*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replaceAll(
        /(createRequire\(|"\.\/worker-entry\.js", )import\.meta\.url/g,
        "$1coreUrl",
      ),
    }));
  },
};

/** @satisfies {import("esbuild").BuildOptions} */
const OPTIONS = /** @type {const} */ ({
  bundle: true,
  platform: "node",
  target: "node20.19",
  packages: "external",
  logLevel: "warning",
  legalComments: "inline",
});

const SMALL_THREADS = {
  "local-list-worker": `${core}source/local-list-worker.js`,
  "local-writer-entry": `${core}restore/local-writer-entry.js`,
};

/** Writes `packages/core/dist/bundle` and `packages/cli/dist`, in a fifth of a second. Under this name tests call it before they run programs. */
export async function setup() {
  rmSync(`${core}bundle`, { recursive: true, force: true });
  for (const name of readdirSync(cli).filter((entry) => entry.endsWith(".js"))) {
    rmSync(cli + name);
  }
  await build({
    ...OPTIONS,
    plugins: [SMALL_MODULES],
    splitting: true,
    format: "esm",
    entryPoints: {
      index: `${core}index.js`,
      blob: `${core}blob/index.js`,
      format: `${core}format/index.js`,
      testing: `${core}testing/index.js`,
      "worker-entry": `${core}pipeline/worker-entry.js`,
      ...SMALL_THREADS,
    },
    outdir: `${core}bundle`,
  });
  const { metafile } = await build({
    ...OPTIONS,
    plugins: [SMALL_MODULES, CORE_INSIDE],
    metafile: true,
    format: "cjs",
    // Node looks at each character before it runs the first of them. Names stay, for whoever reads a stack.
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: 200,
    entryPoints: {
      main: `${cli}modules/main.js`,
      program: `${cli}modules/program.js`,
      ...SMALL_THREADS,
    },
    outdir: cli,
    define: { "import.meta.url": "ownUrl" },
    banner: {
      js: `const { pathToFileURL } = require("node:url");
const ownUrl = pathToFileURL(__filename).href;
const coreUrl = pathToFileURL(require.resolve("@varve/core")).href;`,
    },
  });
  refuseForeign(metafile);
  writeFileSync(`${cli}package.json`, `{ "type": "commonjs" }\n`);
}

/**
 * Where packages see only what they name, the command could not load anything else.
 * @param {import("esbuild").Metafile} metafile
 */
function refuseForeign({ outputs }) {
  const { dependencies } = JSON.parse(readFileSync(`${cli}../package.json`, "utf8"));
  const foreign = Object.values(outputs)
    .flatMap((output) => output.imports)
    .filter(({ path, external }) => external === true && !/^(node:|\.)/.test(path))
    .filter(({ path }) => !Object.keys(dependencies).includes(path));
  if (foreign.length > 0) {
    throw new Error(`the command does not depend on ${foreign.map(({ path }) => path).join(", ")}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setup();
}

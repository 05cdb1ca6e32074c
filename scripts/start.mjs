// The main job, end to end, on a real folder: back it up, change it, back it up again, verify every byte, restore it,
// compare every file with its metadata. Everything goes through the command line that a user has.
//
//   npm start                      a folder of this project with thousands of files
//   npm start -- /some/folder      a folder of yours; a copy of it is what gets changed
//   npm start -- --quick           a small folder
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const cli = join(root, "packages/cli/dist/main.js");
const demo = join(root, ".varve-demo");
const repository = join(demo, "repository");
const data = join(demo, "data");
const restored = join(demo, "restored");
const config = join(demo, "repository.config");
const passwordFile = join(demo, "password");

const args = process.argv.slice(2);
const given = args.find((arg) => !arg.startsWith("-"));
const source = resolve(
  given ?? join(root, args.includes("--quick") ? "packages/core" : "node_modules"),
);

function say(text = "") {
  process.stdout.write(`${text}\n`);
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

/** Runs one varve command as a user would, shows it, and gives what it printed. */
function varve(...command) {
  say(`\n$ varve ${command.join(" ")}`);
  const started = process.hrtime.bigint();
  const result = spawnSync(
    process.execPath,
    [cli, "--config-file", config, "--password-file", passwordFile, "--no-progress", ...command],
    { encoding: "utf8", maxBuffer: 1 << 28 },
  );
  const seconds = (Number(process.hrtime.bigint() - started) / 1e9).toFixed(1);
  if (result.status !== 0) {
    fail(
      `${result.stdout}${result.stderr}\nvarve ${command[0]} failed with exit status ${result.status}`,
    );
  }
  return { output: result.stdout, seconds };
}

/** Every path below `folder` with what a backup must bring back. */
function inventory(folder) {
  const found = new Map();
  const visit = (relative) => {
    const path = join(folder, relative);
    const stat = lstatSync(path, { bigint: true });
    const facts = [stat.mode, stat.uid, stat.gid];
    if (stat.isDirectory()) {
      facts.push(stat.mtimeNs);
      for (const name of readdirSync(path)) {
        visit(join(relative, name));
      }
    } else if (stat.isSymbolicLink()) {
      facts.push(readlinkSync(path));
    } else if (stat.isFile()) {
      facts.push(
        stat.mtimeNs,
        stat.size,
        createHash("sha256").update(readFileSync(path)).digest("hex"),
      );
    } else {
      return; // sockets, devices: not in any backup
    }
    found.set(relative, facts.join(" "));
  };
  visit(".");
  return found;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function backUp(title) {
  const { output, seconds } = varve("snapshot", "create", data, "--json", "--json-verbose");
  const snapshot = JSON.parse(output);
  const { stats, upload } = snapshot;
  const files = stats.cachedFiles + stats.nonCachedFiles;
  say(`  ${title}: ${files} files, ${megabytes(stats.totalSize)}, in ${seconds} s`);
  say(`  unchanged, not even opened: ${stats.cachedFiles}; read: ${stats.nonCachedFiles}`);
  say(
    `  new: ${upload.newContents} contents of ${megabytes(upload.newOriginalBytes)}; already stored: ${upload.dedupedContents}`,
  );
  say(
    `  compressed and encrypted to ${megabytes(upload.newPackedBytes)}; uploaded ${upload.uploadedBlobs} blobs, ${megabytes(upload.uploadedBytes)}`,
  );
  return snapshot;
}

function changeSomething() {
  const files = [];
  const visit = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) {
        visit(join(folder, entry.name));
      } else if (entry.isFile()) {
        files.push(join(folder, entry.name));
      }
    }
  };
  visit(data);
  const [edited, renamed, removed] = [0.2, 0.5, 0.8].map(
    (part) => files[Math.floor(files.length * part)],
  );
  if (new Set([edited, renamed, removed]).size < 3 || removed === undefined) {
    fail(`the folder needs at least a few files, ${source} has ${files.length}`);
  }
  appendFileSync(edited, "\nedited by the demonstration\n");
  renameSync(renamed, `${renamed}.renamed`);
  rmSync(removed);
  writeFileSync(join(data, "new-file.bin"), randomBytes(300_000));
  say("\nChanged: one file edited, one renamed, one removed, one of 300 kB added.");
}

if (!existsSync(source) || !lstatSync(source).isDirectory()) {
  fail(`not a folder: ${source}`);
}
rmSync(demo, { recursive: true, force: true });
mkdirSync(demo, { mode: 0o700 });
writeFileSync(passwordFile, `${randomBytes(16).toString("base64url")}\n`, { mode: 0o600 });
say(`Copying ${source}, so that the demonstration can change it.`);
if (process.platform === "win32") {
  cpSync(source, data, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
} else {
  execFileSync("cp", ["-a", source, data]);
}

varve("repository", "create", "filesystem", "--path", repository);
varve("policy", "set", "--global", "--compression", "zstd-fastest");
backUp("first snapshot");
changeSomething();
const second = backUp("second snapshot");

const verified = varve("snapshot", "verify", "--verify-files-percent=100");
say(verified.output.trimEnd().replace(/^/gm, "  "));

const restore = varve("restore", second.id, restored);
say(restore.output.trimEnd().replace(/^/gm, "  "));

const [before, after] = [inventory(data), inventory(restored)];
const different = [...before]
  .filter(([path, facts]) => after.get(path) !== facts)
  .map(([path]) => path);
const extra = [...after.keys()].filter((path) => !before.has(path));
if (different.length + extra.length > 0) {
  fail(`\nNOT EQUAL: ${[...different, ...extra].slice(0, 20).join(", ")}`);
}
say(
  `\nCompared ${before.size} files, folders and links: content, mode, owner, time and targets are equal.`,
);

const command = `node ${cli} --config-file ${config} --password-file ${passwordFile}`;
say(`
The repository lies in ${repository}
Stock Kopia opens it:   kopia repository connect filesystem --path ${repository}
Its password lies in    ${passwordFile}

Type next:
  alias varve='${command}'
  varve snapshot list
  varve ls -l ${second.id}
  varve restore ${second.id}/new-file.bin out.bin
`);

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFaultProxy } from "./fault-proxy.ts";
import { startVersitygw } from "./s3-servers.ts";

/**
 * How many requests full maintenance makes, beside stock Kopia's on a copy of the same repository when `VARVE_TEST_KOPIA` names it: after
 * a number of backups of which every second was deleted, and once more when there is nothing left to do. A program of
 * its own:
 *
 *     npx esbuild testenv/src/maintenance-requests.ts --bundle --platform=node --target=node20 --format=esm --outfile=requests.mjs
 *     node requests.mjs <main.js of the command line> <count of backups>
 */

const [main = "", countText = "20"] = process.argv.slice(2);
const dir = await mkdtemp(join(tmpdir(), "varve-maintenance-"));
await using server = await startVersitygw();
await using proxy = await startFaultProxy({ target: server.endpoint });
const keys = {
  AWS_ACCESS_KEY_ID: server.accessKeyId,
  AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
  KOPIA_PASSWORD: "maintenance",
  VARVE_PASSWORD: "maintenance",
  KOPIA_CHECK_FOR_UPDATES: "false",
};
const place = (bucket: string, endpoint: string): readonly string[] => [
  ...["s3", `--bucket=${bucket}`, `--endpoint=${new URL(endpoint).host}`],
  ...["--disable-tls", "--region=us-east-1"],
];

async function execute(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, {
    env: { ...process.env, ...keys },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [status] = (await once(child, "close")) as [number | null];
  if (status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${errors}`);
  }
  return output;
}

function varve(config: string, args: readonly string[]): Promise<string> {
  const common = ["--no-progress", "--no-auto-maintenance", "--config-file", join(dir, config)];
  return execute(process.execPath, [main, ...common, ...args]);
}

await varve("made", ["repository", "create", "filesystem", "--path", join(dir, "repository")]);
const source = join(dir, "source");
await mkdir(source);
const deleted: string[] = [];
for (let round = 0; round < Number(countText); round++) {
  for (let file = 0; file < 20; file++) {
    await writeFile(join(source, String((round * 7 + file) % 100)), randomBytes(20_000));
  }
  const text = await varve("made", ["snapshot", "create", source, "--json"]);
  const { id } = JSON.parse(text) as { id: string }; // what the command prints
  if (round % 2 === 0) {
    deleted.push(id);
  }
}
await varve("made", ["snapshot", "delete", ...deleted, "--delete"]);

const program = process.env["VARVE_TEST_KOPIA"];
const kopia = (args: readonly string[]): Promise<string> =>
  execute(program ?? "", [`--config-file=${join(dir, "kopia")}`, "--no-progress", ...args]);
const tools = [
  { name: "varve", run: (args: readonly string[]) => varve("varve", args), connect: [] },
  ...(program === undefined
    ? []
    : [{ name: "kopia", run: kopia, connect: [`--cache-directory=${join(dir, "cache")}`] }]),
];
for (const { name, run, connect } of tools) {
  const bucket = `maintained-${name}`;
  await server.createBucket(bucket);
  await varve("made", ["repository", "sync-to", ...place(bucket, server.endpoint)]);
  await run(["repository", "connect", ...place(bucket, proxy.endpoint), ...connect]);
  for (const what of ["with work to do", "with nothing to do"]) {
    proxy.resetCounts();
    await run(["maintenance", "run", "--full", "--safety=none"]);
    const { requests, byOperation } = proxy.counts;
    const counts = [...byOperation].map(([kind, count]) => `${kind} ${count}`).join(", ");
    process.stdout.write(`${name}, ${what}: ${requests} requests (${counts})\n`);
  }
}
await rm(dir, { recursive: true, force: true });

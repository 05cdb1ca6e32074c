import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { startFaultProxy } from "./fault-proxy.ts";
import { startVersitygw } from "./s3-servers.ts";

/**
 * How long backups and restores take behind a latency, and how many requests they make, beside stock Kopia when
 * `VARVE_TEST_KOPIA` names it. A program of its own (docs/architecture.md says how to start it):
 *
 *     latency <main.js of the command line> <MiB of the one file> <count of small files> <latencies in ms, by commas>
 */

const [main = "", sizeText = "256", countText = "10000", latencyText = "0,50"] =
  process.argv.slice(2);
const PASSWORD = "latency";

interface Tool {
  readonly name: string;
  run(args: readonly string[]): Promise<void>;
  create(place: readonly string[]): readonly string[];
  restore(path: string, target: string): readonly string[];
  /** Before a restore. */
  readonly forget?: readonly string[];
}

async function execute(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr
    ?.setEncoding("utf8")
    .on("data", (text: string) => (errors = (errors + text).slice(-2000)));
  const [status] = (await once(child, "close")) as [number | null];
  if (status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${errors}`);
  }
}

function varve(dir: string, keys: NodeJS.ProcessEnv): Tool {
  const env = { ...keys, VARVE_PASSWORD: PASSWORD, VARVE_CONFIG_PATH: join(dir, "varve.config") };
  return {
    name: "varve",
    run: (args) => execute(process.execPath, [main, "--no-progress", ...args], env),
    create: (place) => ["repository", "create", "s3", ...place],
    restore: (path, target) => ["restore", path, target],
  };
}

function kopia(dir: string, keys: NodeJS.ProcessEnv, program: string): Tool {
  const env = { ...keys, KOPIA_PASSWORD: PASSWORD, KOPIA_CHECK_FOR_UPDATES: "false" };
  const common = [
    `--config-file=${join(dir, "kopia.config")}`,
    "--no-progress",
    `--log-dir=${join(dir, "logs")}`,
  ];
  return {
    name: "kopia",
    run: (args) => execute(program, [...common, ...args], env),
    create: (place) => [
      "repository",
      "create",
      "s3",
      ...place,
      `--cache-directory=${join(dir, "cache")}`,
    ],
    restore: (path, target) => ["snapshot", "restore", path, target],
    forget: ["cache", "clear"],
  };
}

const dir = await mkdtemp(join(tmpdir(), "varve-latency-"));
await using server = await startVersitygw();
await using proxy = await startFaultProxy({ target: server.endpoint });
const keys = {
  AWS_ACCESS_KEY_ID: server.accessKeyId,
  AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
};
const large = await makeLarge(Number(sizeText));
const small = await makeSmall(Number(countText));
const program = process.env["VARVE_TEST_KOPIA"];

let bucket = 0;
for (const latencyMs of latencyText.split(",").map(Number)) {
  const own = join(dir, String(latencyMs));
  await mkdir(own);
  const tools = [varve(own, keys), ...(program === undefined ? [] : [kopia(own, keys, program)])];
  for (const tool of tools) {
    proxy.setFaults({});
    bucket += 1;
    await server.createBucket(`latency${bucket}`);
    const host = new URL(proxy.endpoint).host;
    await tool.run(
      tool.create([
        `--bucket=latency${bucket}`,
        `--endpoint=${host}`,
        "--disable-tls",
        "--region=us-east-1",
      ]),
    );
    proxy.setFaults({ latencyMs });
    for (const [what, path] of [
      ["large", large],
      ["small", small],
    ] as const) {
      const measure = async (step: string, args: readonly string[]): Promise<void> => {
        proxy.resetCounts();
        const start = performance.now();
        await tool.run(args);
        const seconds = (performance.now() - start) / 1000;
        const { requests, byOperation, mostAtOnce } = proxy.counts;
        const counts = [...byOperation].map(([name, count]) => `${name} ${count}`).join(", ");
        process.stdout.write(
          `${latencyMs} ms  ${tool.name}  ${what}  ${step}  ${seconds.toFixed(2)} s  ${requests} requests (${counts}), ${mostAtOnce} at once\n`,
        );
      };
      await measure("backup", ["snapshot", "create", path]);
      await measure("unchanged", ["snapshot", "create", path]);
      if (tool.forget !== undefined) {
        await tool.run(tool.forget);
      }
      const target = join(dir, `restored-${tool.name}`);
      await measure("restore", tool.restore(path, target));
      await rm(target, { recursive: true, force: true });
    }
  }
}
await rm(dir, { recursive: true, force: true });

async function makeLarge(mebibytes: number): Promise<string> {
  const folder = join(dir, "large");
  await mkdir(folder);
  const file = createWriteStream(join(folder, "file"));
  for (let index = 0; index < mebibytes; index++) {
    if (!file.write(randomBytes(2 ** 20))) {
      await once(file, "drain");
    }
  }
  file.end();
  await once(file, "close");
  return folder;
}

async function makeSmall(count: number): Promise<string> {
  const folder = join(dir, "small");
  for (let index = 0; index < count; index++) {
    const sub = join(folder, String(Math.floor(index / 100)));
    if (index % 100 === 0) {
      await mkdir(sub, { recursive: true });
    }
    await writeFile(join(sub, String(index)), randomBytes(2000));
  }
  return folder;
}

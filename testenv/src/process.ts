import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rename, rm, stat } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/**
 * Server processes for tests: started on a free loopback port, waited for, stopped by their process id. Servers that
 * are Go programs are built once into a cache folder of the user.
 */

export interface ServerOptions {
  readonly command: string;
  /** The command line, given the port that was chosen. */
  readonly args: (port: number) => readonly string[];
  /** Added to the environment of this process; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** True once the server answers as it should; called again until then. Default: it accepts a connection. */
  readonly ready?: (port: number) => Promise<boolean>;
  /** How long it may take to be ready, default 60 000. */
  readonly timeoutMs?: number;
}

export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  /** The last 64 KiB of what the server printed. */
  output(): string;
  /** Ends the process and waits for its end; may be called again. */
  stop(): Promise<void>;
}

const OUTPUT_LIMIT = 65_536;
const POLL_MS = 50;
// A server that ignores the first signal is killed by the second.
const STOP_TIMEOUT_MS = 5_000;

/** Starts a server on a free port of 127.0.0.1 and waits until it is ready. Rejects with its output when it ends before. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const port = await freePort();
  const child = spawn(options.command, options.args(port), {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collectOutput(child);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`ended with ${code ?? signal}`));
  });
  const killNow = (): boolean => child.kill("SIGKILL");
  process.once("exit", killNow); // no server outlives its test run
  const stop = async (): Promise<void> => {
    process.off("exit", killNow);
    child.kill("SIGTERM");
    const timer = setTimeout(killNow, STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  };
  try {
    await waitUntilReady(port, ended, options);
  } catch (error) {
    await stop();
    throw new Error(`start ${options.command}: ${String(error)}\n${output()}`, { cause: error });
  }
  return { port, pid: child.pid ?? 0, output, stop, [Symbol.asyncDispose]: stop };
}

function collectOutput(child: ChildProcess): () => string {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      text = (text + chunk).slice(-OUTPUT_LIMIT);
    });
  }
  return () => text;
}

async function waitUntilReady(
  port: number,
  ended: Promise<string>,
  { ready = acceptsConnections, timeoutMs = 60_000 }: ServerOptions,
): Promise<void> {
  for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += POLL_MS) {
    if (await ready(port).catch(() => false)) {
      return;
    }
    const end = await Promise.race([ended, sleep(POLL_MS, undefined)]);
    if (end !== undefined) {
      throw new Error(end);
    }
  }
  throw new Error(`not ready after ${timeoutMs} ms`);
}

/** True when something listens on `port` of 127.0.0.1. */
export function acceptsConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const end = (accepts: boolean): void => {
      socket.destroy();
      resolve(accepts);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

/** A port of 127.0.0.1 that nothing listened on a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

let goAnswers: boolean | undefined;

/** True when the Go toolchain can be run. */
export function hasGo(): boolean {
  goAnswers ??= spawnSync("go", ["version"], { stdio: "ignore" }).status === 0;
  return goAnswers;
}

/**
 * Whether suites against servers that are Go programs can be run, asked while tests are collected. Where they cannot,
 * one line says that `what` is left to `.ci/run`; under `VARVE_TEST_REQUIRE_SERVERS=1`, which that sets, it throws.
 */
export function canRunGoServers(what: string): boolean {
  return canRun(what, hasGo() ? [] : ["the Go toolchain"]);
}

/** As {@link canRunGoServers}, of suites on a Kubernetes cluster with a real node. */
export function canRunKube(what: string): boolean {
  if (process.env["VARVE_TEST_KUBE"] === "no") {
    process.stderr.write(`left out, as VARVE_TEST_KUBE=no says: ${what}\n`);
    return false;
  }
  return canRun(what, [
    ...(process.platform === "linux" ? [] : ["Linux"]),
    ...(hasGo() ? [] : ["the Go toolchain"]),
    ...(mayMount() ? [] : ["root that may mount"]),
  ]);
}

function canRun(what: string, missing: readonly string[]): boolean {
  if (missing.length === 0) {
    return true;
  }
  const needs = missing.join(", ");
  if (process.env["VARVE_TEST_REQUIRE_SERVERS"] === "1") {
    throw new Error(`${what}: this needs ${needs}, and every server is required here`);
  }
  process.stderr.write(`left to .ci/run: ${what} (needs ${needs})\n`);
  return false;
}

const CAP_SYS_ADMIN = 1n << 21n;

/** True for root that has not been denied the right to mount, as it is in most containers. */
function mayMount(): boolean {
  if (process.getuid?.() !== 0) {
    return false;
  }
  const [, effective] =
    /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return effective !== undefined && (BigInt(`0x${effective}`) & CAP_SYS_ADMIN) !== 0n;
}

/**
 * Path of the program that `go install <module>@<version>` builds; built once for each version into
 * `VARVE_TESTENV_CACHE`, or else a folder of the user's cache, however many processes ask at once.
 */
export async function goTool(module: string, version: string): Promise<string> {
  const name = module.slice(module.lastIndexOf("/") + 1);
  const folder = join(cacheFolder(), "go", `${name}@${version}`);
  const program = join(folder, process.platform === "win32" ? `${name}.exe` : name);
  if (await exists(program)) {
    return program;
  }
  await mkdir(join(cacheFolder(), "go"), { recursive: true });
  await using _lock = await lockFile(`${folder}.lock`);
  if (!(await exists(program))) {
    const building = await mkdtemp(`${folder}.building-`);
    const env = { ...process.env, GOBIN: building, GOFLAGS: "-trimpath" };
    try {
      await promisify(execFile)("go", ["install", `${module}@${version}`], { env });
      await rename(building, folder);
    } finally {
      await rm(building, { recursive: true, force: true });
    }
  }
  return program;
}

/** Where what was built for tests is kept. */
export function cacheFolder(): string {
  const { VARVE_TESTENV_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const ofUser =
    process.platform === "win32"
      ? (LOCALAPPDATA ?? join(homedir(), "AppData", "Local"))
      : process.platform === "darwin"
        ? join(homedir(), "Library", "Caches")
        : XDG_CACHE_HOME || join(homedir(), ".cache");
  return VARVE_TESTENV_CACHE ?? join(ofUser, "varve-testenv");
}

/** Waits for a lock between processes; one that an ended process left behind is taken over. */
async function lockFile(path: string): Promise<AsyncDisposable> {
  for (;;) {
    try {
      const handle = await open(path, "wx");
      await handle.writeFile(String(process.pid));
      await handle.close();
      return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) {
        throw error;
      }
    }
    await sleep(POLL_MS * 4);
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (owner > 0 && !isRunning(owner)) {
      await rm(path, { force: true });
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

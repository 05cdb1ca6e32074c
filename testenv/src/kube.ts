import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "./process.ts";

/**
 * A real Kubernetes for tests (`testenv/kube`, see its README): an API server with its controllers, fake nodes by
 * kwok, and a real node with pods, volumes and CSI snapshots. Built once into a cache folder of the user.
 */

export interface KubeOptions {
  /** A real kubelet with containerd; needs root. */
  readonly realNode?: boolean;
  /** A CSI driver with snapshots on that node, which it brings along. */
  readonly csi?: boolean;
  /** Fake nodes, default 1: their pods are Running at once and hold nothing. */
  readonly kwokNodes?: number;
  /** Keep a log of every request: {@link KubeAccess.auditLogPath}. */
  readonly audit?: boolean;
}

/** What a test needs to know; plain data. */
export interface KubeAccess {
  /** Of a cluster admin, by client certificate. */
  readonly kubeconfigPath: string;
  readonly kubeconfig: string;
  /** A kubectl of the same version. */
  readonly kubectlPath: string;
  /** The logs of each component. */
  readonly logsDir: string;
  /** One JSON object a line; empty unless asked for. */
  readonly auditLogPath: string;
  /** The real node's name; empty without one. */
  readonly nodeName: string;
  /** The one image, a busybox, that its pods can have; empty without a real node. */
  readonly image: string;
  /** The kubelet's `pods` folder, where volumes are seen; empty without a real node. */
  readonly podsDir: string;
  /** Where volumes and snapshots of the CSI driver lie; empty without one. */
  readonly csiData: string;
}

export interface Kube extends KubeAccess, AsyncDisposable {
  /** Ends and removes everything; may be called again. */
  stop(): Promise<void>;
}

const REAL_NODE = "127.0.0.1";
// Unix sockets lie in the folder, and their paths are short.
const FOLDER_LIMIT = 65;

/**
 * Builds it, unless that was done before, and returns the folder of programs. With an empty cache this takes some 25
 * minutes of CPU; standard error says how far it is.
 */
export async function buildKube(options: { readonly signal?: AbortSignal } = {}): Promise<string> {
  const args = ["--build-only", "--csi"];
  const child = spawn(script("start"), args, {
    env: environment(),
    stdio: ["ignore", "pipe", "inherit"],
    ...options,
  });
  const text = textOf(child, "stdout");
  const code = await endOf(child);
  if (code !== 0) {
    throw new Error(`build of testenv/kube: ended with ${code}; standard error says why`);
  }
  return text().trim();
}

/** Starts one, in a folder of its own, once it is built. It ends with this process at the latest, also a killed one. */
export async function startKube(options: KubeOptions = {}): Promise<Kube> {
  const { realNode = false, csi = false, kwokNodes = 1, audit = false } = options;
  const programs = await buildKube();
  const folder = await mkdtemp(join(tmpdir(), "varve-kube-"));
  if (folder.length > FOLDER_LIMIT) {
    throw new Error(`start of Kubernetes: ${folder} is too long for sockets, set TMPDIR`);
  }
  const auditLogPath = audit ? join(folder, "audit.log") : "";
  const args = [
    `--kwok-nodes=${kwokNodes}`,
    ...(realNode ? ["--real-node"] : []),
    ...(csi ? ["--csi"] : []),
    ...(audit ? [`--audit-log=${auditLogPath}`] : []),
  ];
  // In a session of its own: what ends the tests may not end what cleans up after them.
  const child = spawn(script("run"), [folder, ...args], {
    env: environment(),
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const errors = textOf(child, "stderr");
  const ended = endOf(child);
  const stop = async (): Promise<void> => {
    child.stdin?.end();
    const code = await ended;
    if (code !== 0) {
      throw new Error(`stop of Kubernetes in ${folder}: ended with ${code}\n${errors()}`);
    }
  };
  const started = await Promise.race([firstLine(child), ended]);
  if (typeof started !== "string") {
    throw new Error(`start of Kubernetes: ended with ${started}\n${errors()}`);
  }
  const state: unknown = JSON.parse(await readFile(join(folder, "state.json"), "utf8"));
  const access: KubeAccess = {
    kubeconfigPath: started,
    kubeconfig: await readFile(started, "utf8"),
    kubectlPath: join(programs, "kubectl"),
    logsDir: join(folder, "logs"),
    auditLogPath,
    nodeName: realNode || csi ? REAL_NODE : "",
    image: textAt(state, "image"),
    podsDir: textAt(state, "podsDir"),
    csiData: textAt(state, "csiData"),
  };
  return { ...access, stop, [Symbol.asyncDispose]: stop };
}

/** Runs kubectl as admin and returns what it printed. Rejects with its message when it fails. */
export async function kubectl(
  access: KubeAccess,
  args: readonly string[],
  input = "",
): Promise<string> {
  const child = execFile(access.kubectlPath, ["--kubeconfig", access.kubeconfigPath, ...args], {
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  const [output, errors] = [textOf(child, "stdout"), textOf(child, "stderr")];
  child.stdin?.on("error", () => undefined).end(input); // one that reads nothing may have ended
  const code = await endOf(child);
  if (code !== 0) {
    throw new Error(`kubectl ${args.join(" ")}: ended with ${code}: ${errors()}`);
  }
  return output();
}

function script(name: string): string {
  return fileURLToPath(new URL(`../kube/${name}`, import.meta.url));
}

function environment(): NodeJS.ProcessEnv {
  const { VARVE_TESTENV_CACHE } = process.env;
  return VARVE_TESTENV_CACHE === undefined
    ? process.env
    : { ...process.env, KUBE_TESTENV_CACHE: join(cacheFolder(), "kube") };
}

function textOf(child: ChildProcess, stream: "stdout" | "stderr"): () => string {
  let text = "";
  child[stream]?.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

/** The exit code, or the name of what ended it, once all that it printed has been read. */
function endOf(child: ChildProcess): Promise<number | Error> {
  return new Promise((resolve) => {
    child.once("error", resolve);
    child.once("close", (code, signal) => resolve(code ?? new Error(`signal ${signal}`)));
  });
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.includes("\n")) {
        resolve(text.slice(0, text.indexOf("\n")));
      }
    });
  });
}

function textAt(state: unknown, key: string): string {
  const value = Object(state)[key];
  return typeof value === "string" ? value : "";
}

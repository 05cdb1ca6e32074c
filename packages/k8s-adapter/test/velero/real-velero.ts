import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KubeConfig } from "@kubernetes/client-node";
import { cluster } from "@varve/testenv/kube-cluster.ts";
import type { VersitygwServer } from "@varve/testenv/s3-servers.ts";
import { apply, applyLocation } from "../cluster/server.ts";

/**
 * A real Velero: its server and its node-agent as processes of this machine, each in a network namespace that reaches
 * the API server and the store only (both want port 8080 for themselves), and its command line.
 * `VARVE_TEST_VELERO` is a folder with `velero`, `velero-restore-helper` and `plugins/velero-plugin-for-aws`.
 */

const run = promisify(execFile);
const programs = process.env["VARVE_TEST_VELERO"] ?? "";
const relayProgram = fileURLToPath(new URL("relay.mjs", import.meta.url));
const HELPER_IMAGE = "localhost/varve-test/velero-restore-helper:1";

export interface RealVelero extends AsyncDisposable {
  /** A command of the program `velero`, in its namespace; gives what it printed. */
  command(...args: string[]): Promise<string>;
  /** What server and node-agent logged. */
  log(): string;
}

export async function startRealVelero(options: {
  readonly namespace: string;
  readonly s3: VersitygwServer;
}): Promise<RealVelero> {
  const { namespace, s3 } = options;
  const folder = await mkdtemp(join(tmpdir(), "varve-velero-"));
  await importHelperImage(folder);
  await applyLocation({ namespace, s3 });
  await apply(...workloads(namespace));
  const { accessKeyId, secretAccessKey } = s3;
  const credentials = join(folder, "cloud");
  await writeFile(
    credentials,
    `[default]\naws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\n`,
  );
  const ports = [apiServerPort(), new URL(s3.endpoint).port];
  const relays = ports.map((port) => relay(port, join(folder, port)));
  const children: Promise<void>[] = [];
  const stops: (() => void)[] = [];
  let log = "";
  const start = (name: string, script: string, args: readonly string[]): void => {
    const child = isolated(folder, ports, { name, script, args, credentials });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        log += text.replace(/^(?=.)/gm, `${name}: `);
      });
    }
    children.push(new Promise((resolve) => child.once("close", () => resolve())));
    stops.push(() => child.kill("SIGKILL"));
  };
  await mkdir("/host_pods", { recursive: true });
  start("server", "", ["server", "-n", namespace, ...SERVER_FLAGS]);
  const agentScript = `mount --rbind "${cluster.podsDir}" /host_pods`;
  start("node-agent", agentScript, ["node-agent", "server", "-n", namespace]);
  return {
    log: () => log,
    async command(...args) {
      const more = { KUBECONFIG: cluster.kubeconfigPath, HOME: folder, NO_COLOR: "1" };
      const env = { ...process.env, ...more };
      const { stdout } = await run(join(programs, "velero"), [...args, "-n", namespace], { env });
      return stdout;
    },
    async [Symbol.asyncDispose]() {
      stops.forEach((stop) => stop());
      await Promise.all(children);
      relays.forEach((server) => server.close());
      await rm(folder, { recursive: true });
      await rm(`/tmp/credentials/${namespace}`, { recursive: true, force: true });
      for (const left of ["/tmp/credentials", "/host_pods"]) {
        await rmdir(left).catch(() => undefined); // unless somebody else uses it
      }
    },
  };
}

const SERVER_FLAGS: readonly string[] = [
  `--plugin-dir=${join(programs, "plugins")}`,
  "--uploader-type=kopia",
  "--backup-sync-period=2s",
  "--store-validation-frequency=2s",
  "--item-operation-sync-frequency=1s",
];

/** In network, mount and process namespaces of its own, all of which end with it. */
function isolated(
  folder: string,
  ports: readonly string[],
  program: {
    readonly name: string;
    readonly script: string;
    readonly args: readonly string[];
    readonly credentials: string;
  },
): ChildProcess {
  const { name, script, args, credentials } = program;
  const home = join(folder, name);
  const setup = `set -e
mkdir -p "$HOME"
ip link set lo up
${script}
"$NODE" "$RELAY" "$FOLDER" ${ports.join(" ")} &
exec "$@"`;
  const namespaces = ["--net", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"];
  const velero = join(programs, "velero");
  return spawn("unshare", [...namespaces, "sh", "-c", setup, "sh", velero, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      HOME: home,
      KUBECONFIG: cluster.kubeconfigPath,
      NODE_NAME: cluster.nodeName,
      AWS_SHARED_CREDENTIALS_FILE: credentials,
      NODE: process.execPath,
      RELAY: relayProgram,
      FOLDER: folder,
    },
  });
}

function apiServerPort(): string {
  const config = new KubeConfig();
  config.loadFromString(cluster.kubeconfig);
  return new URL(config.getCurrentCluster()?.server ?? "").port;
}

/** From a socket in the file system, which every network namespace sees, to a port of the machine. */
function relay(port: string, path: string): Server {
  const server = createServer((near) => {
    const far = connect(Number(port), "127.0.0.1");
    const pass = (from: Socket, to: Socket): void => {
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
      from.pipe(to);
    };
    pass(near, far);
    pass(far, near);
  });
  return server.listen(path);
}

/** What Velero looks for in its namespace: the Deployment for its image, the DaemonSet for being there. */
function workloads(namespace: string): object[] {
  const labels = { name: "velero" };
  const template = {
    metadata: { labels },
    spec: {
      nodeSelector: { "no-such": "node" },
      containers: [{ name: "velero", image: HELPER_IMAGE }],
    },
  };
  const of = (kind: string, name: string, more = {}): object => ({
    apiVersion: "apps/v1",
    kind,
    metadata: { name, namespace },
    spec: { selector: { matchLabels: labels }, template, ...more },
  });
  return [of("Deployment", "velero", { replicas: 0 }), of("DaemonSet", "node-agent")];
}

/** An image with Velero's `velero-restore-helper` alone, brought to the node. */
async function importHelperImage(folder: string): Promise<void> {
  const at = (...names: string[]): string => join(folder, "image", ...names);
  await mkdir(at("root"), { recursive: true });
  await copyFile(join(programs, "velero-restore-helper"), at("root", "velero-restore-helper"));
  await run("tar", ["-cf", at("layer.tar"), "-C", at("root"), "velero-restore-helper"]);
  const digest = createHash("sha256")
    .update(await readFile(at("layer.tar")))
    .digest("hex");
  const config = {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
  };
  const manifest = [{ Config: "config.json", RepoTags: [HELPER_IMAGE], Layers: ["layer.tar"] }];
  await writeFile(at("config.json"), JSON.stringify(config));
  await writeFile(at("manifest.json"), JSON.stringify(manifest));
  const files = ["manifest.json", "config.json", "layer.tar"];
  await run("tar", ["-cf", at("image.tar"), "-C", at(), ...files]);
  const node = join(cluster.podsDir, "../..");
  const ctr = join(dirname(cluster.kubectlPath), "../node/usr/bin/ctr");
  const address = ["--address", join(node, "c.sock"), "-n", "k8s.io"];
  await run(ctr, [...address, "images", "import", at("image.tar")]);
  await rm(at(), { recursive: true });
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { cluster } from "@varve/testenv/kube-cluster.ts";
import { type TestServer, WAIT_COMMAND } from "./server.ts";

/** The server and the node-agent as processes that can be killed, with their own accounts. */

/** What `varve-k8s` does, with shorter waits, and commands that the cluster's one image has. */
const program = fileURLToPath(new URL("process.mjs", import.meta.url));

interface AgentOptions {
  readonly nodeName?: string;
  /** Where that node's kubelet would have mounted volumes. */
  readonly podsFolder?: string;
}

export interface Processes extends AsyncDisposable {
  start(kind: "server" | "agent", options?: AgentOptions): void;
  /** `kill -9` of all that run. */
  kill(): Promise<void>;
  /** Kills all, and starts a server and an agent of the real node. */
  restart(): Promise<void>;
}

export function testProcesses(server: TestServer): Processes {
  const children = new Set<ChildProcess>();
  const start: Processes["start"] = (kind, more = {}) => {
    const { nodeName = cluster.nodeName, podsFolder = cluster.podsDir } = more;
    const options = {
      kind,
      namespace: server.namespace,
      kubeconfig: server.accounts
        .config(kind === "server" ? "velero" : "node-agent")
        .exportConfig(),
      settings: {
        itemOperationPollMs: 200,
        lostCopyMs: 1000,
        restoreWait: { image: cluster.image, command: WAIT_COMMAND },
      },
      pollMs: 100,
      nodeName,
      podsFolder,
      agent: {
        workers: 1,
        progressMs: 20,
        takeOverMs: 1000,
        holder: { image: cluster.image, command: ["sleep", "3600"] },
      },
    };
    const child = spawn(process.execPath, [program], {
      stdio: ["pipe", "ignore", process.env["VARVE_TEST_LOG"] === undefined ? "ignore" : "inherit"],
    });
    child.stdin.end(JSON.stringify(options));
    children.add(child);
  };
  const kill = async (): Promise<void> => {
    const ended = [...children].map((child) => once(child, "exit"));
    for (const child of children) {
      child.kill("SIGKILL");
    }
    children.clear();
    await Promise.all(ended);
  };
  return {
    start,
    kill,
    async restart() {
      await kill();
      start("server");
      start("agent");
    },
    [Symbol.asyncDispose]: kill,
  };
}

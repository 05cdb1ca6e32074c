import { readFileSync } from "node:fs";
import { KubeConfig } from "@kubernetes/client-node";
import { systemEnvironment } from "@varve/core";
import { runNodeAgent, runServer } from "../../dist/index.js";

/** A server or an agent as a process of its own, as it was last compiled; its options come as JSON. */

const { kind, kubeconfig, ...options } = JSON.parse(readFileSync(0, "utf8"));
const kubeConfig = new KubeConfig();
kubeConfig.loadFromString(kubeconfig);
const log = ({ level, message, fields = {} }) => {
  if (level !== "debug") {
    console.error(kind, level, message, JSON.stringify(fields));
  }
};
const { signal } = new AbortController();
const run = kind === "server" ? runServer : runNodeAgent;
await run({ ...options, kubeConfig, signal, environment: systemEnvironment({ log }) });

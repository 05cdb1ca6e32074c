import { KubeConfig } from "@kubernetes/client-node";
import { type Environment, systemEnvironment } from "@varve/core";
import type { Command } from "commander";
import type { KubeApi } from "../kube/kube-api.ts";
import { openKubeApi } from "../kube/kube-client.ts";

/** What every command of an operator starts with: the cluster, and the namespace of Velero's resources. */

export interface CliContext extends Disposable {
  readonly kube: KubeApi;
  readonly namespace: string;
  readonly environment: Environment;
  /** A line on standard output. */
  readonly print: (text: string) => void;
}

const DEFAULT_NAMESPACE = "velero";

export function addGlobalOptions(program: Command): Command {
  return program
    .option("-n, --namespace <name>", "where Velero's resources live", DEFAULT_NAMESPACE)
    .option(
      "--kubeconfig <file>",
      "default: KUBECONFIG, ~/.kube/config, or the pod's service account",
    )
    .option("--kubecontext <name>", "of the kubeconfig");
}

export function loadKubeConfig({
  kubeconfig,
  kubecontext,
}: {
  readonly kubeconfig?: string;
  readonly kubecontext?: string;
}): KubeConfig {
  const config = new KubeConfig();
  if (kubeconfig === undefined) {
    config.loadFromDefault();
  } else {
    config.loadFromFile(kubeconfig);
  }
  if (kubecontext !== undefined) {
    config.setCurrentContext(kubecontext);
  }
  return config;
}

export function openCliContext(command: Command): CliContext {
  const options = command.optsWithGlobals<{
    namespace: string;
    kubeconfig?: string;
    kubecontext?: string;
  }>();
  const environment = systemEnvironment();
  const kube = openKubeApi(loadKubeConfig(options), { environment });
  return {
    kube,
    namespace: options.namespace,
    environment,
    print: (text) => process.stdout.write(`${text}\n`),
    [Symbol.dispose]: () => kube[Symbol.dispose](),
  };
}

import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { TestProject } from "vitest/node";
import { buildKube, type Kube, startKube } from "./kube.ts";
import { buildRegistry } from "./registry.ts";

/**
 * Global setup of the vitest project whose tests share one Kubernetes. It is built while tests of other projects run,
 * started when the first test asks for it (`kube-cluster.ts`), and ended after the last, whatever became of them.
 */

declare module "vitest" {
  interface ProvidedContext {
    /** Where a test file hears how to use Kubernetes, once it is there. Nobody else knows the path. */
    readonly kubeUrl: string;
  }
}

/** What it hears. */
export type KubeAnswer = { readonly kube: Kube } | { readonly error: string };

/** Called by vitest; what it returns is called at the end of the run. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const run = new AbortController();
  const building = buildKube({ signal: run.signal }).then(buildRegistry);
  building.catch(() => undefined); // told to those who ask
  let starting: Promise<Kube> | undefined;
  const answer = async (): Promise<KubeAnswer> => {
    try {
      starting ??= building.then(() => startKube({ csi: true }));
      return { kube: await starting };
    } catch (error) {
      return { error: String(error) };
    }
  };
  const path = `/${randomUUID()}`;
  const server = createServer((request, response) => {
    if (request.url === path) {
      void answer().then((text) => response.end(JSON.stringify(text)));
    } else {
      response.writeHead(404).end();
    }
  });
  project.provide("kubeUrl", `http://127.0.0.1:${await listen(server)}${path}`);
  return async () => {
    run.abort();
    server.close();
    const kube = await starting?.catch(() => undefined);
    await kube?.stop();
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Metrics } from "./metrics.ts";

/** Where probes and Prometheus ask: `/healthz` (the process answers), `/readyz` (it works), `/metrics`. */
export interface HttpEndpoint extends AsyncDisposable {
  readonly port: number;
}

export async function serveHttp(options: {
  /** `:8085`, `127.0.0.1:0`. */
  readonly address: string;
  readonly metrics: Metrics;
  readonly isReady: () => boolean;
}): Promise<HttpEndpoint> {
  const { address, metrics, isReady } = options;
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
  const server = createServer((request, response) => {
    const say = (status: number, body: string, type = "text/plain; charset=utf-8"): void => {
      response.writeHead(status, { "content-type": type }).end(body);
    };
    switch (request.url?.split("?")[0]) {
      case "/healthz":
        return say(200, "ok\n");
      case "/readyz":
        return isReady() ? say(200, "ok\n") : say(503, "not ready\n");
      case "/metrics":
        metrics.text().then(
          ({ contentType, body }) => say(200, body, contentType),
          () => say(500, "the metrics cannot be read\n"),
        );
        return undefined;
      default:
        return say(404, "not found\n");
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: Number(port), ...(host === "" ? {} : { host }) }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port, // it listens on a TCP port
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

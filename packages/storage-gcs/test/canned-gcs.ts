import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A stand-in for Google: a loopback server that keeps what it is asked and says what a test has it say. */

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface CannedGcs extends AsyncDisposable {
  readonly endpoint: string;
  readonly requests: SeenRequest[];
}

export type Answerer = (request: SeenRequest, response: ServerResponse) => void;

export async function startCannedGcs(answer: Answerer): Promise<CannedGcs> {
  const requests: SeenRequest[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const url = new URL(incoming.url ?? "", "http://server");
      const request = {
        method: incoming.method ?? "",
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: incoming.headers,
        body: Buffer.concat(chunks).toString("latin1"),
      };
      requests.push(request);
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function sayJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/** Refuses as the JSON API does. */
export function sayNo(
  response: ServerResponse,
  status: number,
  message: string,
  reason = "",
): void {
  const error = { code: status, message, errors: [{ message, domain: "global", reason }] };
  sayJson(response, { error }, status);
}

export function objectJson(name: string, more: object = {}): object {
  return { name, size: "3", timeCreated: "2026-01-02T03:04:05.678Z", ...more };
}

/** True for the request that opens a store. */
export function isOpening({ query }: SeenRequest): boolean {
  return query["maxResults"] === "1";
}

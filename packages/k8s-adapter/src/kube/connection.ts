import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, type RequestOptions, request as httpsRequest } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import type { CallOptions, Environment } from "@varve/core";
import { decodeJson } from "./go-json.ts";
import { KubeError, type KubeErrorCode } from "./kube-api.ts";

/**
 * HTTP to the API server with the settings of a kubeconfig or a service account, over connections that are kept. The
 * typed client of `@kubernetes/client-node` is not used for it, as it drops members that it does not know.
 */

export interface KubeRequest extends CallOptions {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  readonly accept?: string | undefined;
  /** Without a byte from the server; default 60 seconds. */
  readonly idleMs?: number | undefined;
}

const MAX_CONNECTIONS = 64;
const MAX_ATTEMPTS = 10;
const MAX_WAIT_SECONDS = 30;

export class KubeConnection implements Disposable {
  readonly #config: KubeConfig;
  readonly #environment: Environment;
  #agent: { readonly key: string; readonly agent: HttpAgent } | undefined;

  constructor(config: KubeConfig, environment: Environment) {
    this.#config = config;
    this.#environment = environment;
  }

  /**
   * The answer, when its status is 2xx; its body is not read yet. A server that has not begun on the request and says
   * when to come again is asked again then. Throws {@link KubeError} and the signal's reason.
   */
  async open(request: KubeRequest): Promise<IncomingMessage> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#send(request);
      const { statusCode: status = 0 } = response;
      if (status >= 200 && status < 300) {
        return response;
      }
      const text = await readText(response).catch(() => "");
      const seconds = Number(response.headers["retry-after"]);
      const isBusy = (status === 429 || status === 503) && seconds > 0;
      if (!isBusy || attempt === MAX_ATTEMPTS) {
        throw statusError(`${request.method} ${request.path}`, status, text);
      }
      const waitMs = Math.min(seconds, MAX_WAIT_SECONDS) * 1000;
      await this.#environment.sleep(waitMs, { signal: request.signal });
    }
  }

  async #send(request: KubeRequest): Promise<IncomingMessage> {
    const { signal, path, query = {}, body } = request;
    signal?.throwIfAborted();
    const url = this.#url(path, query);
    const options = await this.#options(request);
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const send = url.protocol === "https:" ? httpsRequest : httpRequest;
      const outgoing = send(url, options, resolve);
      outgoing.setTimeout(request.idleMs ?? 60_000, () => {
        outgoing.destroy(new Error("the API server does not answer"));
      });
      outgoing.on("error", (error) => reject(this.#failure(request, error)));
      outgoing.end(body);
    });
  }

  /** The whole answer, parsed. */
  async json(request: KubeRequest): Promise<unknown> {
    const response = await this.open(request);
    try {
      return decodeJson(await readText(response));
    } catch (error) {
      throw this.#failure(request, error);
    }
  }

  [Symbol.dispose](): void {
    this.#agent?.agent.destroy();
  }

  #url(path: string, query: NonNullable<KubeRequest["query"]>): URL {
    const cluster = this.#config.getCurrentCluster();
    if (cluster === null) {
      throw new KubeError("invalid", "the kubeconfig has no current cluster");
    }
    const url = new URL(cluster.server.replace(/\/$/, "") + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) {
        url.searchParams.set(name, String(value));
      }
    }
    return url;
  }

  async #options(request: KubeRequest): Promise<RequestOptions> {
    const { method, signal, accept = "application/json", body } = request;
    // Read each time: tokens and certificates are renewed while we run.
    const settings: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(settings);
    return {
      method,
      ...(signal === undefined ? {} : { signal }),
      agent: this.#agentOf(settings),
      ...(settings.auth === undefined ? {} : { auth: settings.auth }),
      headers: {
        ...(settings.headers as Record<string, string> | undefined), // an object, as applyToHTTPSOptions makes it
        accept,
        "user-agent": "varve-k8s",
        ...(body === undefined
          ? {}
          : {
              "content-type": request.contentType ?? "application/json",
              "content-length": Buffer.byteLength(body),
            }),
      },
    };
  }

  #agentOf(settings: RequestOptions): HttpAgent {
    const cluster = this.#config.getCurrentCluster();
    if (cluster?.proxyUrl !== undefined) {
      return settings.agent as HttpAgent; // the library's own, which knows the proxy
    }
    const { ca, cert, key, servername, rejectUnauthorized } = settings;
    const material = [ca, cert, key, servername, rejectUnauthorized].map(String).join("\n");
    if (this.#agent?.key !== material) {
      const keep = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
      const isTls = cluster?.server.startsWith("https:") ?? true;
      const tls = Object.fromEntries(
        Object.entries({ ca, cert, key, servername, rejectUnauthorized }).filter(
          ([, value]) => value !== undefined,
        ),
      );
      this.#agent = {
        key: material,
        agent: isTls ? new HttpsAgent({ ...keep, ...tls }) : new HttpAgent(keep),
      };
    }
    return this.#agent.agent;
  }

  #failure({ method, path, signal }: KubeRequest, error: unknown): unknown {
    if (signal?.aborted === true) {
      return signal.reason;
    }
    const message = error instanceof Error ? error.message : String(error);
    return new KubeError("unavailable", `${method} ${path}: ${message}`, { cause: error });
  }
}

const MAX_TEXT_BYTES = 512 * 1024 * 1024;

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    const bytes = chunk as Buffer; // no encoding is set
    size += bytes.length;
    if (size > MAX_TEXT_BYTES) {
      response.destroy();
      throw new KubeError("failed", `an answer of more than ${MAX_TEXT_BYTES} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const CODE_BY_REASON: Readonly<Record<string, KubeErrorCode>> = {
  NotFound: "not-found",
  AlreadyExists: "already-exists",
  Conflict: "conflict",
  Invalid: "invalid",
  BadRequest: "invalid",
  Forbidden: "forbidden",
  Unauthorized: "forbidden",
  Expired: "expired",
  Gone: "expired",
};

const CODE_BY_STATUS: Readonly<Record<number, KubeErrorCode>> = {
  400: "invalid",
  401: "forbidden",
  403: "forbidden",
  404: "not-found",
  409: "conflict",
  410: "expired",
  422: "invalid",
  429: "unavailable",
  500: "unavailable",
  503: "unavailable",
  504: "unavailable",
};

/** What an answer, or an event of a watch, that is a `Status` says. */
export function statusError(what: string, status: number, text: string): KubeError {
  let parsed: { reason?: unknown; message?: unknown } = {};
  try {
    parsed = (JSON.parse(text) as typeof parsed | null) ?? {}; // members are checked below
  } catch {
    // Not from the API server itself; its status must do.
  }
  const reason = typeof parsed.reason === "string" ? parsed.reason : "";
  const message = typeof parsed.message === "string" ? parsed.message : `HTTP ${status}`;
  const code = CODE_BY_REASON[reason] ?? CODE_BY_STATUS[status] ?? "failed";
  return new KubeError(code, `${what}: ${message}`, { status });
}

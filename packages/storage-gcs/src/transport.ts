import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import { Readable } from "node:stream";
import { Collector, type Environment, onAbort, VarveError } from "@varve/core/blob";
import type { Authorizer } from "./credentials.ts";
import { connectionError } from "./errors.ts";

/**
 * One HTTP exchange with the service. The transfers of Google's client library are not used: its requests cannot be
 * aborted, and one that is reset in the middle of an answer never ends, whatever its timeout. Nothing is tried twice.
 */

export interface Exchange {
  /** What is attempted, for errors. */
  readonly what: string;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the endpoint, with the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent one after the other. */
  readonly body?: readonly Uint8Array[];
  /** Memory for the body of the answer, if that is long enough for it. */
  readonly into?: Uint8Array | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Uint8Array;
}

export interface TransportOptions {
  readonly endpoint: string;
  readonly authorizer: Authorizer;
  readonly certificateAuthority: string | undefined;
  readonly idleTimeoutMs: number;
  readonly environment: Environment;
}

// Below this pace a transfer counts as stalled, so that a slow drip ends too.
const MIN_BYTES_PER_SECOND = 4096;
const WRITE_SIZE = 65_536;

export class Transport implements Disposable {
  readonly #options: TransportOptions;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;

  constructor(options: TransportOptions) {
    const { endpoint, certificateAuthority: ca } = options;
    const isTls = endpoint.startsWith("https:");
    this.#options = options;
    this.#request = isTls ? https.request : http.request;
    this.#agent = isTls
      ? new https.Agent({ keepAlive: true, ...(ca === undefined ? {} : { ca }) })
      : new http.Agent({ keepAlive: true });
  }

  /** Rejects with the signal's reason, or throws `access-denied` (no token) and `storage-failed`. */
  async send(exchange: Exchange): Promise<Answer> {
    const { what, signal } = exchange;
    signal?.throwIfAborted();
    const watch = new Watch(this.#options, signal);
    try {
      const credentials = await watch.unlessStopped(this.#options.authorizer.headers());
      return await this.#exchange(exchange, credentials, watch);
    } catch (error) {
      signal?.throwIfAborted();
      if (watch.isStalled) {
        this.#options.authorizer.reset();
        const message = `${what}: the request stalled for ${this.#options.idleTimeoutMs} ms`;
        throw new VarveError("storage-failed", message, { retryable: true });
      }
      throw error instanceof VarveError
        ? new VarveError(error.code, `${what}: ${error.message}`, { retryable: error.retryable })
        : connectionError(what, error);
    } finally {
      await watch.end();
    }
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #exchange(
    { method, path, headers, body, into }: Exchange,
    credentials: Readonly<Record<string, string>>,
    watch: Watch,
  ): Promise<Answer> {
    const request = this.#request(`${this.#options.endpoint}${path}`, {
      method,
      agent: this.#agent,
      signal: watch.stopped,
      headers: {
        ...credentials,
        ...headers,
        "accept-encoding": "identity",
        "user-agent": "varve",
        ...(body === undefined ? {} : { "content-length": sizeOf(body) }),
      },
    });
    try {
      // One that comes after the answer, such as that the rest of the body is not wanted, does not matter.
      request.on("error", () => {});
      Readable.from(slices(body ?? [], watch)).pipe(request);
      const [response] = (await once(request, "response")) as [http.IncomingMessage]; // what the event carries
      const { statusCode: status = 0, headers: answered } = response;
      const bytes = await readBody(response, { into, watch });
      return { status, headers: answered, body: bytes };
    } finally {
      if (!request.writableFinished) {
        request.destroy();
      }
    }
  }
}

export function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function* slices(body: readonly Uint8Array[], watch: Watch): Generator<Uint8Array> {
  for (const part of body) {
    for (let offset = 0; offset < part.length; offset += WRITE_SIZE) {
      const slice = part.subarray(offset, offset + WRITE_SIZE);
      watch.movedBytes += slice.length;
      yield slice;
    }
  }
}

async function readBody(
  response: http.IncomingMessage,
  { into, watch }: Pick<Exchange, "into"> & { readonly watch: Watch },
): Promise<Uint8Array> {
  const announced = Number(response.headers["content-length"]);
  const length = Number.isSafeInteger(announced) ? announced : undefined;
  const collector = new Collector({ what: "answer", length, into });
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    collector.add(chunk); // no encoding is set, so bytes
    watch.movedBytes += chunk.length;
  }
  return collector.bytes();
}

/** Stops an exchange when its signal says so, or when it moved too little for the idle time. */
class Watch {
  movedBytes = 0;
  isStalled = false;
  readonly #stop = new AbortController();
  readonly #over = new AbortController();
  readonly #forget: () => void;
  readonly #watching: Promise<void>;

  constructor({ idleTimeoutMs, environment }: TransportOptions, signal: AbortSignal | undefined) {
    this.#forget = onAbort(signal, () => this.#stop.abort());
    this.#watching = this.#run(idleTimeoutMs, environment).catch(() => {}); // ended by `over`
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** `work`, which cannot be stopped itself, or a rejection as soon as this is stopped. */
  async unlessStopped<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
    let forget = (): void => {};
    const stopped = new Promise<never>((_, reject) => {
      forget = onAbort(signal, () => reject(new Error("stopped")));
    });
    try {
      return await Promise.race([work, stopped]);
    } finally {
      forget();
    }
  }

  async end(): Promise<void> {
    this.#forget();
    this.#over.abort();
    await this.#watching;
  }

  async #run(idleTimeoutMs: number, environment: Environment): Promise<void> {
    const leastBytes = (idleTimeoutMs / 1000) * MIN_BYTES_PER_SECOND;
    let seenBytes = 0;
    do {
      seenBytes = this.movedBytes;
      await environment.sleep(idleTimeoutMs, { signal: this.#over.signal });
    } while (this.movedBytes - seenBytes >= leastBytes);
    this.isStalled = true;
    this.#stop.abort();
  }
}

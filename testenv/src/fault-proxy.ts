import { once, setMaxListeners } from "node:events";
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { chanceOf } from "./fault-chance.ts";
import { type FaultKind, type Vendor, vendorAnswer } from "./vendor-answers.ts";

/**
 * A proxy on loopback in front of a storage server, which does to requests and answers what networks and services do.
 * Signatures stay valid: the `Host` that the client signed is passed on. Which request is hurt follows from the seed,
 * the request's method and path, and how often that was asked for before, and not from the order of arrival.
 */

export interface Faults {
  /** Before a request is passed on: a round trip. */
  readonly latencyMs?: number;
  /** Of all requests, how many meet a fault: 0 to 1. */
  readonly rates?: Readonly<Partial<Record<FaultKind, number>>>;
  /** Which requests may meet faults; default all. Latency is for everyone. */
  readonly only?: (request: ProxiedRequest) => boolean;
  /** What `error-503` and `error-429` tell the client to wait; not told when left out. */
  readonly retryAfterSeconds?: number;
  /** How far the answers' `Date` is off. */
  readonly dateOffsetMs?: number;
}

export interface ProxiedRequest {
  /** `LIST` for the listing of a bucket or container. */
  readonly operation: string;
  /** With the query. */
  readonly url: string;
  /** By their names in lower case. */
  readonly headers: IncomingHttpHeaders;
}

export interface ProxyCounts {
  requests: number;
  readonly byOperation: Map<string, number>;
  readonly faults: Map<FaultKind, number>;
  /** Bytes of bodies, to and from the server. */
  sentBytes: number;
  receivedBytes: number;
  /** Most requests that were on their way at once. */
  mostAtOnce: number;
}

export interface FaultProxy extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
  readonly counts: ProxyCounts;
  /** Every request so far, oldest first, when `record` was asked for. */
  readonly requests: readonly ProxiedRequest[];
  setFaults(faults: Faults): void;
  resetCounts(): void;
  stop(): Promise<void>;
}

export interface FaultProxyOptions {
  /** Where the server listens: `http://127.0.0.1:port`. */
  readonly target: string;
  readonly seed?: number;
  readonly faults?: Faults;
  /** In whose words errors are told; default `s3`. */
  readonly vendor?: Vendor;
  readonly record?: boolean;
}

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new Proxy(options);
  await proxy.listen();
  return proxy;
}

// A client that waits longer than this for a silent server waits for ever.
const HANG_MS = 60_000;
const DRIP_PIECES = 16;
const DRIP_MS = 5;
const MAX_KEPT_LISTING_BYTES = 1024 * 1024;

class Proxy implements FaultProxy {
  endpoint = "";
  counts: ProxyCounts = newCounts();
  readonly requests: ProxiedRequest[] = [];
  readonly #options: FaultProxyOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  readonly #server = createServer((incoming, answer) => void this.#serve(incoming, answer));
  readonly #seen = new Map<string, number>();
  /** The first answer to each listing of late, to be served again. */
  readonly #listings = new Map<string, { head: readonly string[]; body: Buffer }>();
  readonly #stopped = new AbortController();
  #faults: Faults;
  #inFlight = 0;

  constructor(options: FaultProxyOptions) {
    this.#options = options;
    this.#faults = options.faults ?? {};
    setMaxListeners(0, this.#stopped.signal); // one for each request that hangs
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    this.endpoint = `http://127.0.0.1:${port}`;
  }

  setFaults(faults: Faults): void {
    this.#faults = faults;
  }

  resetCounts(): void {
    this.counts = newCounts();
    this.requests.length = 0;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#agent.destroy();
    if (this.#server.listening) {
      this.#server.close();
      this.#server.closeAllConnections();
      await once(this.#server, "close");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { url = "/", headers } = incoming;
    const asked = { operation: operationOf(incoming), url, headers };
    const { counts } = this;
    counts.requests += 1;
    increment(counts.byOperation, asked.operation);
    if (this.#options.record === true) {
      this.requests.push(asked);
    }
    incoming.on("data", (part: Buffer) => (counts.sentBytes += part.length)).pause();
    incoming.on("error", () => {}); // a client that went away
    this.#inFlight += 1;
    counts.mostAtOnce = Math.max(counts.mostAtOnce, this.#inFlight);
    answer.once("close", () => (this.#inFlight -= 1));
    try {
      const { latencyMs = 0 } = this.#faults;
      if (latencyMs > 0) {
        await sleep(latencyMs, undefined, { signal: this.#stopped.signal });
      }
      await this.#answer(asked, incoming, answer);
    } catch {
      answer.destroy();
    }
  }

  async #answer(
    asked: ProxiedRequest,
    incoming: IncomingMessage,
    answer: ServerResponse,
  ): Promise<void> {
    const fault = this.#pick(asked);
    if (fault !== undefined) {
      increment(this.counts.faults, fault.kind);
    }
    const told =
      fault &&
      vendorAnswer(this.#options.vendor ?? "s3", fault.kind, this.#faults.retryAfterSeconds);
    if (told !== undefined) {
      await drained(incoming);
      answer.writeHead(told.status, { ...told.headers, date: this.#date() }).end(told.body);
      return;
    }
    switch (fault?.kind) {
      case "hang":
        await sleep(HANG_MS, undefined, { signal: this.#stopped.signal });
        answer.destroy();
        return;
      case "reset-request":
        await cutShort(incoming, fault.chance);
        answer.destroy();
        return;
      case "stale-list": {
        const stale = this.#listings.get(asked.url);
        if (stale !== undefined) {
          await drained(incoming);
          answer.writeHead(200, [...stale.head]).end(stale.body);
          return;
        }
        break;
      }
      default:
    }
    await this.#forward(asked, { incoming, answer, fault });
  }

  async #forward(
    asked: ProxiedRequest,
    call: { incoming: IncomingMessage; answer: ServerResponse; fault: Fault | undefined },
  ): Promise<void> {
    const { incoming, answer, fault } = call;
    const { hostname, port } = new URL(this.#options.target);
    const upstream = request({
      agent: this.#agent,
      hostname,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: withoutHeaders(incoming.rawHeaders, ["connection", "expect"]),
      setHost: false,
    });
    answer.once("close", () => upstream.destroy());
    const answered = once(upstream, "response") as Promise<[IncomingMessage]>;
    if (fault?.kind === "corrupt-request") {
      upstream.end(flipBit(await drained(incoming), fault.chance));
    } else {
      incoming.pipe(upstream);
    }
    const [response] = await answered;
    response.on("data", (part: Buffer) => (this.counts.receivedBytes += part.length)).pause();
    if (fault?.kind === "lost-answer") {
      await drained(response);
      answer.destroy();
      return;
    }
    await this.#giveBack(asked, { response, answer, fault });
  }

  async #giveBack(
    asked: ProxiedRequest,
    call: { response: IncomingMessage; answer: ServerResponse; fault: Fault | undefined },
  ): Promise<void> {
    const { response, answer, fault } = call;
    const status = response.statusCode ?? 502;
    const head = this.#headOf(response);
    const isListing = asked.operation === "LIST" && status === 200;
    const spoils = fault !== undefined && SPOILED.has(fault.kind) && status < 300;
    if (!isListing && !spoils) {
      answer.writeHead(status, head);
      response.pipe(answer);
      await once(answer, "close");
      return;
    }
    const body = await drained(response);
    if (isListing && body.length <= MAX_KEPT_LISTING_BYTES && !this.#listings.has(asked.url)) {
      this.#listings.set(asked.url, { head, body });
    }
    await spoiledAnswer({ answer, status, head, body, fault: spoils ? fault : undefined });
  }

  #headOf(response: IncomingMessage): string[] {
    if (this.#faults.dateOffsetMs === undefined) {
      return withoutHeaders(response.rawHeaders, ["connection", "keep-alive"]);
    }
    const head = withoutHeaders(response.rawHeaders, ["connection", "keep-alive", "date"]);
    return [...head, "Date", this.#date()];
  }

  #date(): string {
    return new Date(Date.now() + (this.#faults.dateOffsetMs ?? 0)).toUTCString();
  }

  #pick(asked: ProxiedRequest): Fault | undefined {
    const { rates = {}, only } = this.#faults;
    if (only?.(asked) === false) {
      return undefined;
    }
    const key = `${asked.operation} ${asked.url}`;
    const count = (this.#seen.get(key) ?? 0) + 1;
    this.#seen.set(key, count);
    const chance = chanceOf(this.#options.seed ?? 0, `${key} ${count}`);
    let sum = 0;
    for (const [kind, rate] of Object.entries(rates) as [FaultKind, number][]) {
      if (chance < sum + rate) {
        return { kind, chance: (chance - sum) / rate };
      }
      sum += rate;
    }
    return undefined;
  }
}

interface Fault {
  readonly kind: FaultKind;
  /** From 0 to 1: where in the body. */
  readonly chance: number;
}

const SPOILED: ReadonlySet<FaultKind> = new Set([
  "reset-response",
  "truncate-response",
  "corrupt-response",
  "drip",
]);

async function spoiledAnswer(call: {
  answer: ServerResponse;
  status: number;
  head: string[];
  body: Buffer;
  fault: Fault | undefined;
}): Promise<void> {
  const { answer, status, head, body, fault } = call;
  const cut = Math.floor(body.length * (fault?.chance ?? 1));
  switch (fault?.kind) {
    case "reset-response":
      answer.writeHead(status, head);
      answer.write(body.subarray(0, cut));
      await sleep(1);
      answer.destroy();
      return;
    case "truncate-response": {
      const rest = withoutHeaders(head, ["content-length", "transfer-encoding"]);
      answer.writeHead(status, [...rest, "Content-Length", String(cut)]);
      answer.end(body.subarray(0, cut));
      return;
    }
    case "corrupt-response":
      answer.writeHead(status, head).end(flipBit(body, fault.chance));
      return;
    case "drip": {
      answer.writeHead(status, head);
      const size = Math.ceil(body.length / DRIP_PIECES);
      for (let offset = 0; offset < body.length; offset += size) {
        answer.write(body.subarray(offset, offset + size));
        await sleep(DRIP_MS);
      }
      answer.end();
      return;
    }
    default:
      answer.writeHead(status, head).end(body);
  }
}

function newCounts(): ProxyCounts {
  return {
    requests: 0,
    byOperation: new Map(),
    faults: new Map(),
    sentBytes: 0,
    receivedBytes: 0,
    mostAtOnce: 0,
  };
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** S3 `list-type` or a bucket's own path, Azure `comp=list`, Google `/storage/v1/b/BUCKET/o`. */
function operationOf({ method = "GET", url = "/" }: IncomingMessage): string {
  const isListing =
    method === "GET" &&
    /[?&](?:list-type=2|comp=list|versions)(?:&|=|$)|\/b\/[^/?]+\/o(?:\?|$)/.test(url);
  return isListing ? "LIST" : method;
}

function withoutHeaders(raw: readonly string[], names: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const [name = "", value = ""] = raw.slice(index, index + 2);
    if (!names.includes(name.toLowerCase())) {
      kept.push(name, value);
    }
  }
  return kept;
}

async function drained(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) {
    parts.push(part as Buffer); // no encoding is set
  }
  return Buffer.concat(parts);
}

/** Reads a part of the body, so that the connection ends in its middle. */
async function cutShort(incoming: IncomingMessage, chance: number): Promise<void> {
  const length = Number(incoming.headers["content-length"] ?? 0);
  let seen = 0;
  for await (const part of incoming) {
    seen += (part as Buffer).length;
    if (seen >= length * chance) {
      return;
    }
  }
}

function flipBit(body: Buffer, chance: number): Buffer {
  const at = Math.min(body.length - 1, Math.floor(body.length * chance));
  if (at >= 0) {
    body[at] = (body[at] ?? 0) ^ 1;
  }
  return body;
}

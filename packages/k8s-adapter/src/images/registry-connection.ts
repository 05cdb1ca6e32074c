import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, type RequestOptions, request as httpsRequest } from "node:https";
import { rootCertificates } from "node:tls";
import { type CallOptions, type Environment, errorMessage, VarveError } from "@varve/core";

/**
 * HTTP to one image registry: its own authority, the token of a service account, redirects of reads. What comes back
 * is not trusted: answers are bounded, and the token is shown to nobody but the registry's own host.
 */

export interface RegistryAccess {
  /** `https://host:port`. */
  readonly url: string;
  /** Certificates, PEM, to trust beside the system's. */
  readonly ca?: string | undefined;
  /** Of the service account; asked for whenever the registry wants to know who we are. */
  readonly token?: (() => Promise<string | undefined>) | undefined;
}

export interface RegistryRequest extends CallOptions {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT";
  /** From `/v2/` on, or a whole URL that the registry itself has named. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
  /** `pull`, or `pull,push`, on this repository. */
  readonly scope: string;
}

const MAX_CONNECTIONS = 8;
const MAX_REDIRECTS = 3;
const IDLE_MS = 60_000;
const MAX_TEXT_BYTES = 65_536;
// A token without a time to live is good for a minute, by the specification of the token answer.
const DEFAULT_TOKEN_SECONDS = 60;
const USER = "serviceaccount";

export class RegistryConnection implements Disposable {
  readonly #access: RegistryAccess;
  readonly #base: URL;
  readonly #environment: Environment;
  readonly #agents: { readonly http: HttpAgent; readonly https: HttpsAgent };
  readonly #authorizations = new Map<
    string,
    { readonly value: string; readonly untilMs: number }
  >();

  /** Throws `invalid-argument`. */
  constructor(access: RegistryAccess, environment: Environment) {
    this.#access = access;
    this.#environment = environment;
    this.#base = urlOf(access.url);
    const keep = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
    const { ca } = access;
    this.#agents = {
      http: new HttpAgent(keep),
      https: new HttpsAgent({
        ...keep,
        ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
      }),
    };
  }

  /** For errors. */
  get host(): string {
    return this.#base.host;
  }

  /** The answer when its status is one of these; its body is not read yet. Throws `VarveError` by the status. */
  async open(request: RegistryRequest, statuses: readonly number[]): Promise<IncomingMessage> {
    let response = await this.#follow(request);
    if (response.statusCode === 401) {
      await this.#authorize(request, response);
      response = await this.#follow(request);
    }
    const { statusCode: status = 0 } = response;
    if (statuses.includes(status)) {
      return response;
    }
    const text = await readBounded(response, MAX_TEXT_BYTES).then(String, () => "");
    throw statusError(`${request.method} ${this.host} ${request.target}`, status, text);
  }

  /** Where the registry wants the rest of an upload; always at its own host. Throws `storage-failed`. */
  locationOf({ headers }: IncomingMessage): URL {
    const { location } = headers;
    const url = location === undefined ? null : parseUrl(location, this.#base);
    if (url === null || url.origin !== this.#base.origin) {
      const message = `registry ${this.host}: it sends uploads to ${url?.origin ?? "nowhere"}`;
      throw new VarveError("storage-failed", message);
    }
    return url;
  }

  [Symbol.dispose](): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  async #follow(request: RegistryRequest): Promise<IncomingMessage> {
    let url = new URL(request.target, this.#base);
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === this.#base.origin;
      const authorization = isOwn ? this.#authorizations.get(request.scope) : undefined;
      const isFresh = (authorization?.untilMs ?? 0) > this.#environment.nowMs();
      const response = await this.#send(url, request, {
        ...request.headers,
        ...(authorization !== undefined && isFresh ? { authorization: authorization.value } : {}),
      });
      const { statusCode: status = 0, headers } = response;
      const isRead = request.method === "GET" || request.method === "HEAD";
      if (!isRead || ![301, 302, 303, 307, 308].includes(status)) {
        return response;
      }
      response.resume();
      const next = headers.location === undefined ? null : parseUrl(headers.location, url);
      const isDowngrade = url.protocol === "https:" && next?.protocol !== "https:";
      if (next === null || isDowngrade || redirects === MAX_REDIRECTS) {
        throw new VarveError("storage-failed", `registry ${this.host}: redirects to nowhere`);
      }
      url = next;
    }
  }

  async #send(
    url: URL,
    { method, body, signal }: Pick<RegistryRequest, "method" | "body" | "signal">,
    headers: Readonly<Record<string, string>>,
  ): Promise<IncomingMessage> {
    signal?.throwIfAborted();
    const isTls = url.protocol === "https:";
    const options: RequestOptions = {
      method,
      agent: isTls ? this.#agents.https : this.#agents.http,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        "user-agent": "varve-k8s",
        ...(method === "GET" || method === "HEAD" ? {} : { "content-length": body?.length ?? 0 }),
        ...headers,
      },
    };
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = (isTls ? httpsRequest : httpRequest)(url, options, resolve);
      outgoing.setTimeout(IDLE_MS, () => outgoing.destroy(new Error("no answer")));
      outgoing.on("error", (cause) => {
        const message = `${method} ${url.host}: ${errorMessage(cause)}`;
        const failure = new VarveError("storage-failed", message, { cause, retryable: true });
        reject(signal?.aborted === true ? signal.reason : failure);
      });
      outgoing.end(body);
    });
  }

  /** Gets what the challenge asks for. Throws `access-denied`. */
  async #authorize({ scope, signal }: RegistryRequest, response: IncomingMessage): Promise<void> {
    response.resume();
    const challenge = parseChallenge(response.headers["www-authenticate"] ?? "");
    const token = await this.#access.token?.();
    if (token === undefined || challenge === undefined) {
      throw new VarveError("access-denied", `registry ${this.host} wants another token than ours`);
    }
    const basic = `Basic ${Buffer.from(`${USER}:${token}`).toString("base64")}`;
    const { scheme, realm = "", service } = challenge;
    const bearer =
      scheme === "bearer"
        ? await this.#bearer(realm, { service, scope, basic, signal })
        : { value: basic, untilMs: Number.POSITIVE_INFINITY };
    this.#authorizations.set(scope, bearer);
  }

  async #bearer(
    realm: string,
    options: CallOptions & {
      readonly service: string | undefined;
      readonly scope: string;
      readonly basic: string;
    },
  ): Promise<{ readonly value: string; readonly untilMs: number }> {
    const url = parseUrl(realm, this.#base);
    // The service account's token is for this host, over what is at least as safe as its own connection.
    const isSafe = url?.protocol === "https:" || url?.protocol === this.#base.protocol;
    if (url === null || url.hostname !== this.#base.hostname || !isSafe) {
      const message = `registry ${this.host} wants our token shown to ${JSON.stringify(realm)}`;
      throw new VarveError("access-denied", message);
    }
    if (options.service !== undefined) {
      url.searchParams.set("service", options.service);
    }
    url.searchParams.set("scope", options.scope);
    const { basic: authorization, signal } = options;
    const response = await this.#send(url, { method: "GET", signal }, { authorization });
    const bytes = await readBounded(response, MAX_TEXT_BYTES);
    const { token, access_token: other, expires_in: seconds } = recordOf(bytes);
    const value = typeof token === "string" ? token : other;
    if (response.statusCode !== 200 || typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
      const message = `registry ${this.host} gives no token for ${options.scope}: HTTP ${response.statusCode}`;
      throw new VarveError("access-denied", message);
    }
    const lifeSeconds = typeof seconds === "number" ? seconds : DEFAULT_TOKEN_SECONDS;
    const untilMs = this.#environment.nowMs() + lifeSeconds * 900;
    return { value: `Bearer ${value}`, untilMs };
  }
}

/** The whole body. Throws `corrupt` when it is larger. */
export async function readBounded(
  response: IncomingMessage,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    size += chunk.length; // no encoding is set, so these are bytes
    if (size > maxBytes) {
      response.destroy();
      throw new VarveError("corrupt", `a registry's answer of more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

interface Challenge {
  readonly scheme: "bearer" | "basic";
  readonly realm: string | undefined;
  readonly service: string | undefined;
}

/** `Bearer realm="…",service="…",scope="…"`. */
export function parseChallenge(header: string): Challenge | undefined {
  const scheme = /^\s*(bearer|basic)\b/i.exec(header)?.[1]?.toLowerCase();
  if (scheme !== "bearer" && scheme !== "basic") {
    return undefined;
  }
  const member = (name: string): string | undefined =>
    new RegExp(`[\\s,]${name}="([^"]*)"`, "i").exec(header)?.[1];
  return { scheme, realm: member("realm"), service: member("service") };
}

function statusError(what: string, status: number, text: string): VarveError {
  const said = text.slice(0, 300).replaceAll(/\s+/g, " ");
  const message = `${what}: HTTP ${status} ${said}`;
  switch (status) {
    case 401:
    case 403:
      return new VarveError("access-denied", message);
    case 404:
      return new VarveError("blob-not-found", message);
    default:
      return new VarveError("storage-failed", message, {
        retryable: status === 429 || status >= 500,
      });
  }
}

function recordOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch {
    return {};
  }
}

function parseUrl(text: string, base?: URL): URL | null {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}

function urlOf(text: string): URL {
  const url = parseUrl(text);
  if (url === null || !["https:", "http:"].includes(url.protocol)) {
    throw new VarveError("invalid-argument", `not the address of a registry: ${text}`);
  }
  return url;
}

import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/**
 * What Azurite lacks, in a proxy in front of it: versions of blobs and version-level immutability, as Azure's
 * documentation and Kopia's provider describe them. It shows that we send what is meant and understand what comes back,
 * not that Azure answers so. Every request is kept.
 */

export interface SeenRequest {
  readonly method: string;
  /** Path in the container and the query. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
}

export interface VersionedAzurite extends AsyncDisposable {
  /** URL of the blob service, the account in its path. */
  readonly endpoint: string;
  readonly requests: SeenRequest[];
  /** The clock of versions; it moves by a second with every write. */
  nowMs: number;
  /** The versions of a blob that are kept, newest last, without marks of deletions. */
  versionsOf(name: string): readonly { versionId: string; isLocked: boolean }[];
}

interface Version {
  readonly versionId: string;
  readonly modified: string;
  readonly body: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
  readonly isMark: boolean;
  policy: { until: Date; mode: string } | undefined;
}

interface Call {
  readonly method: string;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  readonly url: string;
  readonly body: Buffer;
}

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: Buffer | string;
}

export async function startVersionedAzurite(
  azuriteEndpoint: string,
  container: string,
): Promise<VersionedAzurite> {
  const proxy = new VersionedProxy(new URL(azuriteEndpoint), container);
  await proxy.listen();
  return proxy;
}

class VersionedProxy implements VersionedAzurite {
  endpoint = "";
  nowMs = Date.UTC(2030, 0, 1);
  readonly requests: SeenRequest[] = [];
  readonly #azurite: URL;
  readonly #root: string;
  readonly #blobs = new Map<string, Version[]>();
  readonly #server = createServer((incoming, answer) => void this.#serve(incoming, answer));

  constructor(azurite: URL, container: string) {
    this.#azurite = azurite;
    this.#root = `${azurite.pathname}/${container}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    this.endpoint = `http://127.0.0.1:${port}${this.#azurite.pathname}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  versionsOf(name: string): readonly { versionId: string; isLocked: boolean }[] {
    return (this.#blobs.get(name) ?? [])
      .filter(({ isMark }) => !isMark)
      .map(({ versionId, policy }) => ({ versionId, isLocked: policy?.mode === "Locked" }));
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = "", url = "", headers, rawHeaders } = incoming;
    const { pathname, searchParams: query } = new URL(url, "http://proxy");
    const path = decodeURIComponent(pathname).slice(this.#root.length);
    this.requests.push({ method, target: url.slice(this.#root.length), headers });
    const body = Buffer.concat(await incoming.toArray());
    const call = { method, name: path.slice(1), query, headers, rawHeaders, url, body };
    const { status, headers: head = {}, body: text } = await this.#answer(call);
    answer.writeHead(status, head).end(text);
  }

  async #answer(call: Call): Promise<Reply> {
    const { method, name, query } = call;
    if (query.get("comp") === "list" && query.get("include")?.includes("versions") === true) {
      return this.#list(query.get("prefix") ?? "");
    }
    if (query.get("comp") === "immutabilityPolicies") {
      return method === "PUT" ? this.#setPolicy(call) : this.#dropPolicy(name);
    }
    if (query.has("versionid")) {
      return this.#version(call);
    }
    if (name === "" || method === "GET") {
      return await this.#forward(call);
    }
    switch (method) {
      case "HEAD":
        return withPolicy(await this.#forward(call), this.#current(name));
      case "PUT":
        return await this.#put(call);
      default:
        return await this.#delete(call);
    }
  }

  #current(name: string): Version | undefined {
    const newest = this.#blobs.get(name)?.at(-1);
    return newest?.isMark === true ? undefined : newest;
  }

  async #put(call: Call): Promise<Reply> {
    const reply = await this.#forward(call);
    if (reply.status !== 201) {
      return reply;
    }
    const { headers, body } = call;
    const until = headers["x-ms-immutability-policy-until-date"];
    const mode = headers["x-ms-immutability-policy-mode"];
    const metadata = Object.entries(headers)
      .filter(([key]) => key.startsWith("x-ms-meta-"))
      .map(([key, value]) => [key.slice("x-ms-meta-".length), String(value)]);
    const { versionId } = this.#keep(call.name, {
      modified: this.#tick(),
      body,
      metadata: Object.fromEntries(metadata),
      isMark: false,
      policy:
        until === undefined ? undefined : { until: new Date(String(until)), mode: String(mode) },
    });
    return { ...reply, headers: { ...reply.headers, "x-ms-version-id": versionId } };
  }

  async #delete(call: Call): Promise<Reply> {
    const current = this.#current(call.name);
    if (isActive(current)) {
      return refusal(409, "BlobImmutableDueToPolicy");
    }
    const reply = await this.#forward(call);
    if (reply.status === 202 && current !== undefined) {
      this.#tick();
      const { modified, metadata } = current;
      const mark = { modified, metadata, body: Buffer.alloc(0), isMark: true, policy: undefined };
      this.#keep(call.name, mark);
    }
    return reply;
  }

  #setPolicy({ name, headers }: Call): Reply {
    const current = this.#current(name);
    const until = new Date(String(headers["x-ms-immutability-policy-until-date"]));
    if (current === undefined) {
      return refusal(404, "BlobNotFound");
    }
    if (isActive(current) && current?.policy !== undefined && until < current.policy.until) {
      return refusal(409, "ImmutabilityPolicyShortened");
    }
    current.policy = { until, mode: String(headers["x-ms-immutability-policy-mode"]) };
    return { status: 200 };
  }

  #dropPolicy(name: string): Reply {
    const current = this.#current(name);
    if (isActive(current) || current === undefined) {
      return refusal(409, "ImmutabilityPolicyDeleteOnLockedPolicy");
    }
    current.policy = undefined;
    return { status: 200 };
  }

  #version({ method, name, query, headers }: Call): Reply {
    const versions = this.#blobs.get(name) ?? [];
    const version = versions.find(({ versionId }) => versionId === query.get("versionid"));
    if (version === undefined) {
      return refusal(404, "BlobNotFound");
    }
    if (method === "DELETE") {
      if (isActive(version)) {
        return refusal(409, "BlobImmutableDueToPolicy");
      }
      versions.splice(versions.indexOf(version), 1);
      return { status: 202 };
    }
    const [, from = "0", to = ""] = /bytes=(\d+)-(\d*)/.exec(String(headers["x-ms-range"])) ?? [];
    const part = version.body.subarray(Number(from), to === "" ? undefined : Number(to) + 1);
    return {
      status: headers["x-ms-range"] === undefined ? 200 : 206,
      headers: { etag: '"0x1"', "content-length": String(part.length) },
      body: part,
    };
  }

  #list(prefix: string): Reply {
    const items = [...this.#blobs.keys()]
      .filter((name) => name.startsWith(prefix))
      .sort()
      .flatMap((name) => (this.#blobs.get(name) ?? []).map((version) => itemXml(name, version)));
    const body = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="" ContainerName="c"><Blobs>${items.join("")}</Blobs><NextMarker/></EnumerationResults>`;
    return { status: 200, headers: { "content-type": "application/xml" }, body };
  }

  #tick(): string {
    this.nowMs += 1000;
    return new Date(this.nowMs).toUTCString();
  }

  #keep(name: string, version: Omit<Version, "versionId">): Version {
    const versionId = new Date(this.nowMs).toISOString().replace("Z", "0000Z");
    const kept = { ...version, versionId };
    this.#blobs.set(name, [...(this.#blobs.get(name) ?? []), kept]);
    return kept;
  }

  async #forward({ method, url, rawHeaders, body }: Call): Promise<Reply> {
    const { hostname, port } = this.#azurite;
    const upstream = request({ hostname, port, method, path: url, headers: rawHeaders });
    upstream.end(body);
    const [response] = (await once(upstream, "response")) as [IncomingMessage];
    const received = Buffer.concat(await response.toArray());
    const { "transfer-encoding": _, connection: __, ...headers } = response.headers;
    return { status: response.statusCode ?? 500, headers, body: received };
  }
}

function isActive(version: Version | undefined): boolean {
  return version?.policy?.mode === "Locked";
}

function withPolicy(reply: Reply, version: Version | undefined): Reply {
  if (version?.policy === undefined) {
    return reply;
  }
  const { until, mode } = version.policy;
  const policy = {
    "x-ms-immutability-policy-until-date": until.toUTCString(),
    "x-ms-immutability-policy-mode": mode,
  };
  return { ...reply, headers: { ...reply.headers, ...policy } };
}

function refusal(status: number, code: string): Reply {
  const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return {
    status,
    headers: { "x-ms-error-code": code, "content-type": "application/xml" },
    body,
  };
}

function itemXml(name: string, { versionId, modified, body, metadata, isMark }: Version): string {
  const pairs = Object.entries(metadata).map(([key, value]) => `<${key}>${value}</${key}>`);
  return `<Blob><Name>${name}</Name><VersionId>${versionId}</VersionId>${isMark ? "<HasVersionsOnly>true</HasVersionsOnly>" : ""}<Properties><Last-Modified>${modified}</Last-Modified><Etag>0x1</Etag><Content-Length>${body.length}</Content-Length><BlobType>BlockBlob</BlobType></Properties><Metadata>${pairs.join("")}</Metadata></Blob>`;
}

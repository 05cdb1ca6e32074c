import type { KubeConfig } from "@kubernetes/client-node";
import type { CallOptions, Environment } from "@varve/core";
import { KubeConnection, statusError } from "./connection.ts";
import { discoverTypes } from "./discovery.ts";
import { execInPod } from "./exec.ts";
import { decodeJson, encodeJson } from "./go-json.ts";
import {
  type DeleteOptions,
  type ExecOptions,
  type ExecResult,
  isKubeError,
  type KubeApi,
  KubeError,
  type KubeObject,
  type ListOptions,
  type ObjectName,
  type ResourceRef,
  type ResourceType,
  type WatchEvent,
  type WriteOptions,
} from "./kube-api.ts";

/** The API of the cluster that `config` speaks of. Dispose it to close its connections. */
export function openKubeApi(
  config: KubeConfig,
  { environment }: { readonly environment: Environment },
): KubeApi & Disposable {
  return new KubeClient(config, environment);
}

const PAGE_SIZE = 500;
const MERGE_PATCH = "application/merge-patch+json";
// The server ends a watch by itself after this time, so that one that hangs is noticed.
const WATCH_SECONDS = 240;

interface ListPage {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly continueToken: string | undefined;
}

class KubeClient implements KubeApi, Disposable {
  readonly #config: KubeConfig;
  readonly #environment: Environment;
  readonly #connection: KubeConnection;

  constructor(config: KubeConfig, environment: Environment) {
    this.#config = config;
    this.#environment = environment;
    this.#connection = new KubeConnection(config, environment);
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }

  async discover(
    options: CallOptions = {},
  ): Promise<{ types: readonly ResourceType[]; failed: readonly string[] }> {
    return await discoverTypes(this.#connection, options);
  }

  async openApi(apiVersion: string, { signal }: CallOptions = {}): Promise<unknown> {
    const path = `/openapi/v3/${apiVersion.includes("/") ? "apis" : "api"}/${apiVersion}`;
    return await this.#connection.json({ method: "GET", path, signal });
  }

  async serverVersion({ signal }: CallOptions = {}): Promise<{
    gitVersion: string;
    major: string;
    minor: string;
  }> {
    const found = await this.#connection.json({ method: "GET", path: "/version", signal });
    const { gitVersion = "", major = "", minor = "" } = found as Partial<Record<string, string>>;
    return { gitVersion, major, minor };
  }

  async *list(type: ResourceRef, options: ListOptions = {}): AsyncGenerator<KubeObject> {
    const given = new Set<string>();
    let token: string | undefined;
    do {
      let page: ListPage;
      try {
        page = await this.#page(type, options, token);
      } catch (error) {
        if (token === undefined || !isKubeError(error, "expired")) {
          throw error;
        }
        token = undefined; // it took too long: once more from the start
        page = await this.#page(type, options, token);
      }
      token = page.continueToken;
      for (const object of page.items) {
        const key = `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
        if (!given.has(key)) {
          given.add(key);
          yield object;
        }
      }
    } while (token !== undefined);
  }

  async listAll(
    type: ResourceRef,
    options: ListOptions = {},
  ): Promise<{ items: readonly KubeObject[]; resourceVersion: string }> {
    const items: KubeObject[] = [];
    let token: string | undefined;
    let resourceVersion: string;
    do {
      const page = await this.#page(type, options, token);
      items.push(...page.items);
      ({ continueToken: token, resourceVersion } = page);
    } while (token !== undefined);
    return { items, resourceVersion };
  }

  async #page(
    type: ResourceRef,
    { namespace, labelSelector, fieldSelector, pageSize = PAGE_SIZE, signal }: ListOptions,
    token: string | undefined,
  ): Promise<ListPage> {
    const found = await this.#connection.json({
      method: "GET",
      path: pathOf(type, { namespace }),
      query: { limit: pageSize, labelSelector, fieldSelector, continue: token },
      signal,
    });
    const {
      apiVersion,
      kind,
      metadata = {},
      items,
    } = found as {
      apiVersion?: string;
      kind?: string;
      metadata?: { resourceVersion?: string; continue?: string };
      items?: KubeObject[] | null;
    };
    const itemKind = kind?.replace(/List$/, "");
    return {
      items: (items ?? []).map((item) => ({
        apiVersion,
        ...(itemKind === undefined ? {} : { kind: itemKind }),
        ...item,
      })) as KubeObject[], // the server's own
      resourceVersion: metadata.resourceVersion ?? "",
      continueToken: metadata.continue === "" ? undefined : metadata.continue,
    };
  }

  async get(
    type: ResourceRef,
    name: ObjectName,
    { signal }: CallOptions = {},
  ): Promise<KubeObject> {
    return await this.#object({ method: "GET", path: pathOf(type, name), signal });
  }

  async create(
    type: ResourceRef,
    object: KubeObject,
    options: WriteOptions = {},
  ): Promise<KubeObject> {
    const { namespace } = object.metadata;
    return await this.#object({
      method: "POST",
      path: pathOf(type, { namespace }),
      body: encodeJson(object),
      ...writeRequest(options),
    });
  }

  async replace(
    type: ResourceRef,
    object: KubeObject,
    options: WriteOptions = {},
  ): Promise<KubeObject> {
    return await this.#object({
      method: "PUT",
      path: pathOf(type, object.metadata, options.subresource),
      body: encodeJson(object),
      ...writeRequest(options),
    });
  }

  async mergePatch(
    type: ResourceRef,
    name: ObjectName,
    patch: object,
    options: WriteOptions = {},
  ): Promise<KubeObject> {
    return await this.#object({
      method: "PATCH",
      path: pathOf(type, name, options.subresource),
      body: encodeJson(patch),
      contentType: MERGE_PATCH,
      ...writeRequest(options),
    });
  }

  async delete(
    type: ResourceRef,
    name: ObjectName,
    { uid, gracePeriodSeconds, propagation, signal }: DeleteOptions = {},
  ): Promise<boolean> {
    try {
      await this.#connection.json({
        method: "DELETE",
        path: pathOf(type, name),
        body: encodeJson({
          apiVersion: "v1",
          kind: "DeleteOptions",
          gracePeriodSeconds,
          propagationPolicy: propagation,
          preconditions: uid === undefined ? undefined : { uid },
        }),
        signal,
      });
      return true;
    } catch (error) {
      if (isKubeError(error, "not-found")) {
        return false;
      }
      throw error;
    }
  }

  async *watch(
    type: ResourceRef,
    options: ListOptions & { readonly resourceVersion: string },
  ): AsyncGenerator<WatchEvent> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, signal } = options;
    const path = pathOf(type, { namespace });
    const response = await this.#connection.open({
      method: "GET",
      path,
      query: {
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: WATCH_SECONDS,
        resourceVersion,
        labelSelector,
        fieldSelector,
      },
      idleMs: (WATCH_SECONDS + 30) * 1000,
      signal,
    });
    try {
      for await (const line of linesOf(response)) {
        const event = watchEvent(`watch ${path}`, line);
        if (event !== undefined) {
          yield event;
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof KubeError
        ? error
        : new KubeError("unavailable", `watch ${path}: the connection broke`, { cause: error });
    } finally {
      response.destroy();
    }
  }

  async exec(options: ExecOptions): Promise<ExecResult> {
    return await execInPod(this.#config, this.#environment, options);
  }

  async #object(request: Parameters<KubeConnection["json"]>[0]): Promise<KubeObject> {
    const found = await this.#connection.json(request);
    const { metadata } = found as Partial<KubeObject>;
    if (typeof metadata?.name !== "string") {
      throw new KubeError("failed", `${request.method} ${request.path}: the answer is no object`);
    }
    return found as KubeObject; // it has what every object has
  }
}

function writeRequest({ fieldManager = "varve", dryRun, signal }: WriteOptions): {
  query: Record<string, string | undefined>;
  signal: AbortSignal | undefined;
} {
  return { query: { fieldManager, dryRun: dryRun === true ? "All" : undefined }, signal };
}

/** Names go into the path as they are checked to be: nothing in them can leave it. */
function pathOf(
  { group, version, resource, namespaced }: ResourceRef,
  { namespace, name }: Partial<ObjectName>,
  subresource?: string,
): string {
  const segments = [
    ...(group === "" ? ["api", version] : ["apis", group, version]),
    ...(namespaced && namespace !== undefined ? ["namespaces", namespace] : []),
    resource,
    ...(name === undefined ? [] : [name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
    throw new KubeError(
      "invalid",
      `not a name: ${JSON.stringify(namespace)}/${JSON.stringify(name)}`,
    );
  }
  return `/${segments.map(encodeURIComponent).join("/")}`;
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

function watchEvent(what: string, line: string): WatchEvent | undefined {
  if (line.trim() === "") {
    return undefined;
  }
  const { type, object } = decodeJson(line) as { type: string; object: KubeObject }; // the server's own
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return { type, object };
    case "BOOKMARK":
      return { type, resourceVersion: object.metadata.resourceVersion ?? "" };
    default: {
      const { code = 0 } = object as { code?: number };
      throw statusError(what, code, JSON.stringify(object));
    }
  }
}

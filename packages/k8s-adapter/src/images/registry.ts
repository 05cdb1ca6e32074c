import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { type CallOptions, type Environment, isVarveError, VarveError } from "@varve/core";
import {
  type Descriptor,
  type Digest,
  digestOf,
  type ImageManifest,
  MANIFEST_TYPES,
  MAX_MANIFEST_BYTES,
  parseManifest,
  verified,
} from "./image-manifest.ts";
import {
  readBounded,
  type RegistryAccess,
  RegistryConnection,
  type RegistryRequest,
} from "./registry-connection.ts";

/** The OCI distribution API of one registry, as far as images are copied: pull, and push of what is not there yet. */
export class Registry implements Disposable {
  readonly #connection: RegistryConnection;

  /** Throws `invalid-argument`. */
  constructor(access: RegistryAccess, environment: Environment) {
    this.#connection = new RegistryConnection(access, environment);
  }

  /** Throws `blob-not-found`, `corrupt`, `unsupported`, `access-denied`, `storage-failed`. */
  async manifest(
    repository: string,
    digest: Digest,
    { signal }: CallOptions,
  ): Promise<ImageManifest> {
    const response = await this.#connection.open(
      {
        method: "GET",
        target: `/v2/${repository}/manifests/${digest}`,
        headers: { accept: MANIFEST_TYPES.join(", ") },
        scope: pull(repository),
        signal,
      },
      [200],
    );
    return parseManifest(await readBounded(response, MAX_MANIFEST_BYTES), digest);
  }

  /** What a tag, or a digest, stands for; undefined when there is nothing. */
  async resolve(
    repository: string,
    reference: string,
    { signal }: CallOptions,
  ): Promise<string | undefined> {
    const headers = await this.#head(`/v2/${repository}/manifests/${reference}`, {
      headers: { accept: MANIFEST_TYPES.join(", ") },
      scope: pull(repository),
      signal,
    });
    const digest = headers?.["docker-content-digest"] ?? "";
    return headers === undefined ? undefined : String(digest);
  }

  /** Checked as it comes: throws `corrupt` at its end at the latest. */
  async *blob(
    repository: string,
    descriptor: Descriptor,
    { signal }: CallOptions,
  ): AsyncGenerator<Uint8Array> {
    const response = await this.#connection.open(
      {
        method: "GET",
        target: `/v2/${repository}/blobs/${descriptor.digest}`,
        scope: pull(repository),
        signal,
      },
      [200],
    );
    try {
      yield* verified(response as AsyncIterable<Uint8Array>, descriptor); // no encoding is set, so these are bytes
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof VarveError
        ? error
        : new VarveError("storage-failed", `blob ${descriptor.digest}: it broke off`, {
            cause: error,
            retryable: true,
          });
    } finally {
      response.destroy();
    }
  }

  async hasBlob(
    repository: string,
    { digest }: Descriptor,
    { signal }: CallOptions,
  ): Promise<boolean> {
    const target = `/v2/${repository}/blobs/${digest}`;
    const headers = await this.#head(target, { scope: push(repository), signal });
    return headers !== undefined;
  }

  /**
   * Chunks of any size, checked already. Nothing is there before all of it is. `from`: a repository of the same
   * registry that may have it, so that it need not be sent.
   */
  async putBlob(
    repository: string,
    { digest }: Descriptor,
    chunks: AsyncIterable<Uint8Array>,
    { from, signal }: CallOptions & { readonly from?: string | undefined },
  ): Promise<void> {
    const scope = push(repository);
    const target = `/v2/${repository}/blobs/uploads/`;
    let response =
      (from === undefined
        ? undefined
        : await this.#mount(target, digest, { from, scope, signal })) ??
      (await this.#connection.open({ method: "POST", target, scope, signal }, [202]));
    response.resume();
    if (response.statusCode === 201) {
      return;
    }
    let url = this.#connection.locationOf(response);
    let sent = 0;
    for await (const body of chunks) {
      const headers = {
        "content-type": "application/octet-stream",
        "content-range": `${sent}-${sent + body.length - 1}`,
      };
      const part = { method: "PATCH", target: url.href, headers, body, scope, signal } as const;
      response = await this.#connection.open(part, [202]);
      url = this.#connection.locationOf(response);
      response.resume();
      sent += body.length;
    }
    url.searchParams.set("digest", digest);
    const end = { method: "PUT", target: url.href, scope, signal } as const;
    (await this.#connection.open(end, [201])).resume();
  }

  /** `reference`: a tag, or its digest. */
  async putManifest(
    repository: string,
    reference: string,
    { bytes, mediaType }: ImageManifest,
    { signal }: CallOptions,
  ): Promise<void> {
    const response = await this.#connection.open(
      {
        method: "PUT",
        target: `/v2/${repository}/manifests/${reference}`,
        headers: { "content-type": mediaType },
        body: bytes,
        scope: push(repository),
        signal,
      },
      [201],
    );
    response.resume();
    const told = response.headers["docker-content-digest"];
    if (told !== undefined && told !== digestOf(bytes)) {
      throw new VarveError(
        "storage-failed",
        `${repository}:${reference} is stored as ${String(told)}`,
      );
    }
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }

  /** 201: it is there; 202: it is to be sent. Undefined when we may not look into the other repository. */
  async #mount(
    target: string,
    digest: Digest,
    { from, scope, signal }: CallOptions & { readonly from: string; readonly scope: string },
  ): Promise<IncomingMessage | undefined> {
    const query = new URLSearchParams({ mount: digest, from }).toString();
    const both = `${scope} ${pull(from)}`;
    const request = { method: "POST", target: `${target}?${query}`, scope: both, signal } as const;
    try {
      return await this.#connection.open(request, [201, 202]);
    } catch (error) {
      if (isVarveError(error, "access-denied")) {
        return undefined;
      }
      throw error;
    }
  }

  async #head(
    target: string,
    request: Pick<RegistryRequest, "headers" | "scope" | "signal">,
  ): Promise<IncomingHttpHeaders | undefined> {
    try {
      const response = await this.#connection.open({ method: "HEAD", target, ...request }, [200]);
      response.resume();
      return response.headers;
    } catch (error) {
      if (isVarveError(error, "blob-not-found")) {
        return undefined;
      }
      throw error;
    }
  }
}

const pull = (repository: string): string => `repository:${repository}:pull`;
const push = (repository: string): string => `repository:${repository}:pull,push`;

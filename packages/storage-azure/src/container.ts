import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  AnonymousCredential,
  type BlobClient,
  type BlobDownloadResponseParsed,
  type BlobItem,
  BlobSASPermissions,
  type BlockBlobClient,
  type ContainerClient,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import {
  type BlobId,
  type BlobInfo,
  Collector,
  type Environment,
  type GetOptions,
  parseBlobId,
  VarveError,
} from "@varve/core/blob";
import type { AzureService } from "./credentials.ts";
import { type Attempt, azureError, brokenBody, type ErrorContext } from "./errors.ts";
import { type Watch, withIdleTimeout } from "./idle-timeout.ts";

/** One container as requests that are watched, with errors that have codes: what the stores are made of. */

export interface ContainerOptions {
  readonly container: string;
  readonly account: string;
  readonly prefix: string;
  readonly idleTimeoutMs: number;
  readonly environment: Environment;
}

export interface ItemsOptions {
  /** For errors, such as `list "p"`. */
  readonly what: string;
  /** All versions of every blob, and the marks of deletions. */
  readonly versions?: boolean;
  /** Entries a request; by default what the service allows, 5000. */
  readonly pageSize?: number;
  readonly signal: AbortSignal | undefined;
}

/** Metadata that holds a time set by the caller: nanoseconds since the Unix epoch, as Kopia writes it (spec §6.1). */
const MTIME_KEY = "Kopiamtime";
// Clocks differ.
const CLOCK_SKEW_MS = 300_000;
const PIECE_BYTES = 256 * 1024;

export class AzureContainer {
  readonly label: string;
  readonly prefix: string;
  readonly environment: Environment;
  readonly #client: ContainerClient;
  readonly #service: AzureService;
  readonly #options: ContainerOptions;
  readonly #idleTimeoutMs: number;
  readonly #errors: ErrorContext;

  constructor(service: AzureService, options: ContainerOptions) {
    const { container, account, prefix, idleTimeoutMs, environment } = options;
    this.label = `azure://${account}/${container}/${prefix}`;
    this.prefix = prefix;
    this.environment = environment;
    this.#service = service;
    this.#options = options;
    this.#client = service.client.getContainerClient(container);
    this.#idleTimeoutMs = idleTimeoutMs;
    const { host } = new URL(service.client.url);
    const { secrets, sasExpiryMs } = service;
    const nowMs = (): number => environment.nowMs();
    this.#errors = { container, account, host, secrets, sasExpiryMs, nowMs };
  }

  /** The same container below another prefix. */
  at(prefix: string): AzureContainer {
    return new AzureContainer(this.#service, { ...this.#options, prefix });
  }

  nameOf(id: BlobId): string {
    return this.prefix + id;
  }

  blob(id: BlobId): BlockBlobClient {
    return this.#client.getBlockBlobClient(this.nameOf(id));
  }

  /** Runs requests that are one attempt. */
  async run<T>(
    attempt: Attempt,
    signal: AbortSignal | undefined,
    work: (watch: Watch) => Promise<T>,
  ): Promise<T> {
    try {
      const { environment } = this;
      const idleTimeoutMs = this.#idleTimeoutMs;
      return await withIdleTimeout({ idleTimeoutMs, environment, signal }, work);
    } catch (error) {
      signal?.throwIfAborted();
      throw azureError(error, attempt, this.#errors);
    }
  }

  /** Names in order, a page a request. */
  async *items(
    namePrefix: string,
    { what, versions = false, pageSize, signal }: ItemsOptions,
  ): AsyncGenerator<BlobItem> {
    let continuationToken = "";
    do {
      const page = await this.run({ what, needs: "list" }, signal, async ({ abortSignal }) => {
        const pages = this.#client
          .listBlobsFlat({
            prefix: namePrefix,
            includeMetadata: true,
            includeVersions: versions,
            includeDeletedWithVersions: versions,
            abortSignal,
          })
          .byPage({
            ...(continuationToken === "" ? {} : { continuationToken }),
            ...(pageSize === undefined ? {} : { maxPageSize: pageSize }),
          });
        const { value } = await pages.next();
        return value;
      });
      yield* page?.segment.blobItems ?? [];
      continuationToken = nextToken(what, { next: page?.continuationToken, continuationToken });
    } while (continuationToken !== "");
  }

  /** Whole names, up to the first slash after `prefix`, each once. */
  async *folders(
    prefix: string,
    { what, signal }: { readonly what: string; readonly signal: AbortSignal | undefined },
  ): AsyncGenerator<string> {
    let continuationToken = "";
    do {
      const page = await this.run({ what, needs: "list" }, signal, async ({ abortSignal }) => {
        const pages = this.#client
          .listBlobsByHierarchy("/", { prefix, abortSignal })
          .byPage(continuationToken === "" ? {} : { continuationToken });
        const { value } = await pages.next();
        return value;
      });
      for (const { name } of page?.segment.blobPrefixes ?? []) {
        yield name;
      }
      continuationToken = nextToken(what, { next: page?.continuationToken, continuationToken });
    } while (continuationToken !== "");
  }

  /** A URL that anybody can read one blob with. Throws `unsupported` for an account known by a SAS only. */
  async readUrl(
    name: string,
    { seconds, signal }: { readonly seconds: number; readonly signal: AbortSignal | undefined },
  ): Promise<string> {
    const { client } = this.#service;
    const blob = this.#client.getBlobClient(name);
    const nowMs = this.environment.nowMs();
    const sas = {
      permissions: BlobSASPermissions.parse("r"),
      expiresOn: new Date(nowMs + seconds * 1000),
    };
    const what = `sign a URL of ${name}`;
    if (client.credential instanceof StorageSharedKeyCredential) {
      return await blob.generateSasUrl(sas);
    }
    if (client.credential instanceof AnonymousCredential) {
      throw new VarveError("unsupported", `${what}: it takes a key, not a SAS`);
    }
    return await this.run({ what, needs: "read" }, signal, async ({ abortSignal }) => {
      const startsOn = new Date(nowMs - CLOCK_SKEW_MS);
      const key = await client.getUserDelegationKey(startsOn, sas.expiresOn, { abortSignal });
      return await blob.generateUserDelegationSasUrl(sas, key);
    });
  }

  /** What a list tells of a blob; `undefined` for names that are none of ours. */
  info({ name, properties, metadata }: BlobItem): BlobInfo | undefined {
    const id = blobIdOf(name, this.prefix);
    // A folder of an account with a hierarchical namespace is listed as an empty blob.
    if (id === undefined || metadata?.["hdi_isfolder"] === "true") {
      return undefined;
    }
    const { contentLength = 0, lastModified } = properties;
    return { id, size: contentLength, mtimeMs: mtimeOf(metadata) ?? lastModified.getTime() };
  }
}

function nextToken(
  what: string,
  { next = "", continuationToken }: { next: string | undefined; continuationToken: string },
): string {
  if (next !== "" && next === continuationToken) {
    throw new VarveError("storage-failed", `${what}: the service gives the same page again`);
  }
  return next;
}

function blobIdOf(name: string, prefix: string): BlobId | undefined {
  try {
    return name.startsWith(prefix) ? parseBlobId(name.slice(prefix.length)) : undefined;
  } catch {
    return undefined;
  }
}

type Metadata = Readonly<Record<string, string>> | undefined;

/** The time in metadata, whose names come back in other case, depending on the request. */
export function mtimeOf(metadata: Metadata): number | undefined {
  for (const [key, value] of Object.entries(metadata ?? {})) {
    if (key.toLowerCase() === MTIME_KEY.toLowerCase() && /^-?\d{1,19}$/.test(value)) {
      return Math.floor(Number(BigInt(value) / 1000n) / 1000);
    }
  }
  return undefined;
}

export function mtimeMetadata(mtimeMs: number | undefined): Record<string, string> {
  return mtimeMs === undefined
    ? {}
    : { [MTIME_KEY]: String(BigInt(Math.round(mtimeMs)) * 1_000_000n) };
}

interface DownloadOptions extends Pick<GetOptions, "range" | "into"> {
  readonly watch: Watch;
}

/** The bytes of a blob, or of a range of at least one byte. */
export async function download(
  blob: BlobClient,
  { range, into, watch }: DownloadOptions,
): Promise<Uint8Array> {
  const { abortSignal } = watch;
  const { offset = 0, length } = range ?? {};
  const response = await blob.download(offset, length, { abortSignal, maxRetryRequests: 0 });
  if (range !== undefined) {
    checkRange(response, range);
  }
  const bytes = await readBody(response, { into, watch });
  // A part is checked by what it is a part of; a whole blob need not be.
  const { contentMD5: md5 } = response;
  if (range === undefined && md5 !== undefined && !contentMd5(bytes).equals(md5)) {
    throw brokenBody("its MD5 is not that of the blob");
  }
  return bytes;
}

/** The service cuts a range off at the blob's end, and says where that is. */
function checkRange(
  response: BlobDownloadResponseParsed,
  { offset, length }: { readonly offset: number; readonly length: number },
): void {
  const { contentLength, contentRange = "" } = response;
  if (contentLength === length) {
    return;
  }
  stopBody(response);
  const size = Number(/\/(\d+)$/.exec(contentRange)?.[1] ?? Number.NaN);
  const message = `got ${contentLength} bytes of ${length} at ${offset}`;
  throw offset + length > size
    ? new VarveError("range-invalid", `${message} of a blob of ${size} bytes`)
    : brokenBody(message);
}

async function readBody(
  { contentLength = 0, readableStreamBody }: BlobDownloadResponseParsed,
  { into, watch: { moved } }: Omit<DownloadOptions, "range">,
): Promise<Uint8Array> {
  const collector = new Collector({ what: "body", length: contentLength, into });
  try {
    for await (const chunk of readableStreamBody ?? []) {
      const piece = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      collector.add(piece);
      moved(piece.length);
    }
    return collector.bytes();
  } catch (error) {
    throw brokenBody(error);
  }
}

function stopBody({ readableStreamBody: body }: BlobDownloadResponseParsed): void {
  if (body instanceof Readable) {
    body.on("error", () => {}).destroy();
  }
}

/** What the service checks a body against; it keeps it with the blob, as it does when it computes it itself. */
export function contentMd5(bytes: Uint8Array): Buffer {
  return createHash("md5").update(bytes).digest();
}

/** `bytes` as a body whose progress is seen. */
export function bodyOf(bytes: Uint8Array, { moved }: Watch): () => Readable {
  function* pieces(): Generator<Uint8Array> {
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
      const piece = bytes.subarray(offset, offset + PIECE_BYTES);
      moved(piece.length);
      yield piece;
    }
  }
  return () => Readable.from(pieces(), { objectMode: false });
}

import { finished, type Readable } from "node:stream";
import { GetObjectCommand, HeadObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import {
  type BlobId,
  type BlobInfo,
  type CallOptions,
  Collector,
  type CollectorOptions,
  type Environment,
  type GetOptions,
  onAbort,
  parseBlobId,
  resolveRange,
  VarveError,
} from "@varve/core/blob";
import { type Attempt, rightRegion, s3Error } from "./errors.ts";
import { STORAGE_CONFIG } from "./storage-classes.ts";

/** What the store of today and the view of a point in time share: names, reads, and how a request is made. */

/** A permission and what else it takes to be told that something is missing. */
const TO_READ = "s3:GetObject, and s3:ListBucket if it is missing";

export interface BucketOptions {
  readonly client: S3Client;
  readonly name: string;
  readonly prefix: string;
  readonly label: string;
  readonly requestMs: number;
  readonly environment: Environment;
  /** The client is another's, and stays open. */
  readonly clientIsShared?: boolean;
}

export interface VersionOptions {
  /** Default: what is there now. */
  readonly versionId?: string | undefined;
}

export class S3Bucket {
  readonly client: S3Client;
  readonly name: string;
  readonly prefix: string;
  readonly label: string;
  readonly environment: Environment;
  /** The region that the service named when it refused a request that was signed for another. */
  readonly named: { region?: string } = {};
  readonly #requestMs: number;
  readonly #clientIsShared: boolean;
  readonly #running = new Set<Promise<unknown>>();

  constructor({
    client,
    name,
    prefix,
    label,
    requestMs,
    environment,
    clientIsShared = false,
  }: BucketOptions) {
    this.client = client;
    this.name = name;
    this.prefix = prefix;
    this.label = label;
    this.environment = environment;
    this.#requestMs = requestMs;
    this.#clientIsShared = clientIsShared;
  }

  /** The same bucket below another prefix, over the same connections. */
  at(prefix: string): S3Bucket {
    const { client, name, environment } = this;
    const label = this.label.replace(`//${name}/`, () => `//${name}/${prefix}`);
    const requestMs = this.#requestMs;
    return new S3Bucket({
      client,
      name,
      prefix,
      label,
      requestMs,
      environment,
      clientIsShared: true,
    });
  }

  /** Names the object that holds a blob. */
  target(id: BlobId): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.name, Key: this.prefix + id };
  }

  /** The blob that an object of the listing is; `undefined` for a foreign one, and for the hidden configuration. */
  info(object: ListedObject): BlobInfo | undefined {
    const { Key = "", Size = 0, LastModified } = object;
    const id = Key.startsWith(this.prefix) ? blobIdOf(Key.slice(this.prefix.length)) : undefined;
    return id === undefined || id === STORAGE_CONFIG
      ? undefined
      : { id, size: Size, mtimeMs: timeOf(LastModified) };
  }

  /**
   * Makes one request, or several that are one thing: errors come out as VarveErrors, the signal's reason as it is.
   * `work` must end when its signal aborts, which it also does when the time is over.
   */
  async run<T>(
    attempt: Pick<Attempt, "what" | "needs">,
    signal: AbortSignal | undefined,
    work: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const running = this.#runWithin(attempt, signal, work);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #runWithin<T>(
    { what, needs }: Pick<Attempt, "what" | "needs">,
    signal: AbortSignal | undefined,
    work: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    const stop = new AbortController();
    const done = new AbortController();
    const forget = onAbort(signal, () => stop.abort(signal?.reason));
    this.environment.sleep(this.#requestMs, { signal: done.signal }).then(
      () => stop.abort(),
      () => {}, // done in time
    );
    try {
      return await work(stop.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (stop.signal.aborted) {
        const message = `${what}: not done after ${this.#requestMs} ms`;
        throw new VarveError("storage-failed", message, { retryable: true });
      }
      const region = rightRegion(error);
      if (region !== undefined) {
        this.named.region = region;
      }
      throw s3Error(error, { what, needs, bucket: this.name });
    } finally {
      forget();
      done.abort();
    }
  }

  async get(
    id: BlobId,
    { range, into, signal, versionId }: GetOptions & VersionOptions = {},
  ): Promise<Uint8Array> {
    resolveRange(id, Number.MAX_SAFE_INTEGER, range); // is it a range at all?
    if (range?.length === 0) {
      const { size } = await this.stat(id, { signal, versionId });
      resolveRange(id, size, range);
      return new Uint8Array(0);
    }
    return await this.run({ what: `get ${id}`, needs: TO_READ }, signal, async (abortSignal) => {
      const command = new GetObjectCommand({
        ...this.target(id),
        ...versionOf(versionId),
        ...(range === undefined
          ? {}
          : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }),
      });
      const { Body, ContentLength, ContentRange } = await this.client.send(command, {
        abortSignal,
      });
      // In Node it is; the type speaks of browsers too.
      const body = Body as Readable | undefined;
      try {
        const length = range === undefined ? ContentLength : rangeLength(id, range, ContentRange);
        return await readExactly(body, { what: `get ${id}`, length, into });
      } catch (error) {
        body?.destroy();
        throw error;
      }
    });
  }

  async stat(
    id: BlobId,
    { signal, versionId }: CallOptions & VersionOptions = {},
  ): Promise<BlobInfo> {
    return await this.run({ what: `stat ${id}`, needs: TO_READ }, signal, async (abortSignal) => {
      const command = new HeadObjectCommand({ ...this.target(id), ...versionOf(versionId) });
      const { ContentLength, LastModified } = await this.client.send(command, { abortSignal });
      if (ContentLength === undefined) {
        throw new VarveError("storage-failed", `stat ${id}: the server tells no size`);
      }
      return { id, size: ContentLength, mtimeMs: timeOf(LastModified) };
    });
  }

  /** Waits for what is on its way, then closes the connections that are its own. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#running);
    if (!this.#clientIsShared) {
      this.client.destroy();
    }
  }
}

/** What a listing tells of an object or a version of one. */
export interface ListedObject {
  readonly Key?: string | undefined;
  readonly Size?: number | undefined;
  readonly LastModified?: Date | undefined;
}

/** Undoes the encoding of the names in a listing, which XML needs for some that are not ours, where the server applied it. */
export function decodeName(name: string | undefined, encoding: string | undefined): string {
  if (name === undefined || encoding !== "url") {
    return name ?? "";
  }
  try {
    return decodeURIComponent(name.replaceAll("+", " "));
  } catch {
    return ""; // foreign
  }
}

/** Whole seconds, which is all that the header of a read tells: a listing may know more, and must say the same. */
function timeOf(date: Date | undefined): number {
  return Math.floor((date?.getTime() ?? 0) / 1000) * 1000;
}

function versionOf(versionId: string | undefined): { VersionId?: string } {
  return versionId === undefined ? {} : { VersionId: versionId };
}

function blobIdOf(text: string): BlobId | undefined {
  try {
    return parseBlobId(text);
  } catch {
    return undefined; // not a blob
  }
}

/** `bytes 0-9/100`: what the server gives of what there is. One that gave something else than was asked for is found out. */
function rangeLength(
  id: BlobId,
  range: { readonly offset: number; readonly length: number },
  contentRange: string | undefined,
): number {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? "");
  const [, first, last, size] = match ?? [];
  if (size !== undefined && size !== "*") {
    resolveRange(id, Number(size), range);
  }
  if (Number(first) !== range.offset || Number(last) !== range.offset + range.length - 1) {
    throw new VarveError(
      "storage-failed",
      `get ${id}: asked for ${range.length} bytes at ${range.offset}, the server gives ${contentRange ?? "no range"}`,
    );
  }
  return range.length;
}

/** By events: an iteration costs a promise for each of the many parts. Rejects when the body breaks off. */
async function readExactly(
  body: Readable | undefined,
  options: CollectorOptions,
): Promise<Uint8Array> {
  if (options.length === undefined) {
    throw new VarveError("storage-failed", `${options.what}: the server tells no length`);
  }
  const collector = new Collector(options);
  if (body !== undefined) {
    await new Promise<void>((resolve, reject) => {
      finished(body, { writable: false }, (error) => (error ? reject(error) : resolve()));
      body.on("data", (part: Uint8Array) => {
        try {
          collector.add(part);
        } catch (error) {
          reject(error);
        }
      });
    });
  }
  return collector.bytes();
}

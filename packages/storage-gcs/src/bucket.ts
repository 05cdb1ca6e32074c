import { createHash } from "node:crypto";
import type { Environment, UploadPart } from "@varve/core/blob";
import { VarveError } from "@varve/core/blob";
import { refusalError } from "./errors.ts";
import { decodeList, decodeObject, decodeVersioning, type ObjectInfo } from "./object-json.ts";
import { type Answer, type Exchange, sizeOf, type Transport } from "./transport.ts";

/** The few calls of the JSON API that a blob store needs, on the objects of one bucket. */

export interface BucketOptions {
  readonly name: string;
  readonly transport: Transport;
  /** Source of the boundaries between the parts of an upload. */
  readonly environment: Environment;
  readonly kmsKeyName: string | undefined;
}

export interface Call {
  /** What is attempted, for errors: `get p1234`. */
  readonly what: string;
  readonly signal: AbortSignal | undefined;
}

export interface Upload extends Call {
  readonly parts: readonly Uint8Array[];
  /** The members that the object shall have beside its name. */
  readonly metadata: object;
  readonly ifAbsent: boolean;
}

export interface Download extends Call {
  readonly range: { readonly offset: number; readonly length: number } | undefined;
  /** See {@link Exchange}. */
  readonly into?: Uint8Array | undefined;
  /** Of the newest generation, if left out. */
  readonly generation?: string;
}

export interface Listing extends Call {
  readonly versions?: boolean;
  readonly pageSize?: number;
}

const OBJECT_FIELDS = "name,size,timeCreated,metadata";
const VERSION_FIELDS = `${OBJECT_FIELDS},generation,timeDeleted`;
const LARGEST_PAGE = 1000;
const MORE_IS_EXPECTED = 308;
const OBJECT_PATH = /^\/storage\/v1\/b\/[^/]+\/o\//;

export class Bucket implements Disposable {
  readonly name: string;
  readonly #transport: Transport;
  readonly #environment: Environment;
  readonly #kmsKeyName: string | undefined;

  constructor({ name, transport, environment, kmsKeyName }: BucketOptions) {
    this.name = name;
    this.#transport = transport;
    this.#environment = environment;
    this.#kmsKeyName = kmsKeyName;
  }

  /** Throws `blob-not-found`; `range-invalid` when the object ends before the range does. */
  async download(
    object: string,
    { range, into, generation, ...call }: Download,
  ): Promise<Uint8Array> {
    const answer = await this.#call(call, {
      method: "GET",
      path: this.#objectPath(object, { alt: "media", generation }),
      into,
      headers:
        range === undefined
          ? {}
          : { range: `bytes=${range.offset}-${range.offset + range.length - 1}` },
    });
    if (range === undefined) {
      checkHash(answer, call);
      return answer.body;
    }
    return exactRange(answer, range, call);
  }

  /** One request, which the service refuses if the bytes that arrive have another hash. Throws `blob-exists`. */
  async upload(
    object: string,
    { parts, metadata, ifAbsent, ...call }: Upload,
  ): Promise<ObjectInfo> {
    const md5 = createHash("md5");
    for (const part of parts) {
      md5.update(part);
    }
    const boundary = Buffer.from(this.#environment.randomBytes(24)).toString("hex");
    const head =
      `--${boundary}\r\ncontent-type: application/json\r\n\r\n` +
      `${JSON.stringify({ name: object, ...metadata, md5Hash: md5.digest("base64") })}\r\n` +
      `--${boundary}\r\ncontent-type: application/x-kopia\r\n\r\n`;
    const query = queryOf({
      uploadType: "multipart",
      fields: OBJECT_FIELDS,
      ifGenerationMatch: ifAbsent ? "0" : undefined,
      kmsKeyName: this.#kmsKeyName,
    });
    const answer = await this.#call(call, {
      method: "POST",
      path: `/upload/storage/v1/b/${encodeURIComponent(this.name)}/o${query}`,
      headers: { "content-type": `multipart/related; boundary=${boundary}` },
      body: [Buffer.from(head), ...parts, Buffer.from(`\r\n--${boundary}--\r\n`)],
    });
    const info = decodeObject(answer.body, call.what);
    if (info.name !== object || info.size !== sizeOf(parts)) {
      const stored = `${info.size} of ${sizeOf(parts)} bytes as ${JSON.stringify(info.name)}`;
      const message = `${call.what}: Google stored ${stored}`;
      throw new VarveError("storage-failed", message, { retryable: true });
    }
    return info;
  }

  /** Part by part; the object is there when the last has arrived. Throws what `parts` throw. */
  async uploadParts(object: string, parts: AsyncIterable<UploadPart>, call: Call): Promise<void> {
    const query = { uploadType: "resumable", name: object, kmsKeyName: this.#kmsKeyName };
    const begun = await this.#call(call, {
      method: "POST",
      path: `/upload/storage/v1/b/${encodeURIComponent(this.name)}/o${queryOf(query)}`,
      headers: { "content-type": "application/json" },
      body: [Buffer.from("{}")],
    });
    const path = sessionPath(begun, call);
    let sent = 0;
    try {
      for await (const { bytes, isLast } of parts) {
        const end = sent + bytes.length;
        const range = bytes.length === 0 ? "*" : `${sent}-${end - 1}`;
        const headers = { "content-range": `bytes ${range}/${isLast ? end : "*"}` };
        const exchange = { method: "PUT", path, headers, body: [bytes] } as const;
        await this.#call(call, exchange, isLast ? [] : [MORE_IS_EXPECTED]);
        sent = end;
      }
    } catch (error) {
      const forgetting = { what: call.what, signal: undefined, method: "DELETE", path } as const;
      await this.#transport.send(forgetting).catch(() => {}); // it forgets by itself after a week
      throw error;
    }
  }

  /** Throws `blob-not-found`. */
  async info(object: string, call: Call): Promise<ObjectInfo> {
    const fields = `${OBJECT_FIELDS},retention`;
    const path = this.#objectPath(object, { fields });
    return decodeObject((await this.#call(call, { method: "GET", path })).body, call.what);
  }

  /** Changes members of the object. Throws `blob-not-found`. */
  async update(object: string, metadata: object, call: Call): Promise<void> {
    await this.#call(call, {
      method: "PATCH",
      path: this.#objectPath(object, { fields: "name" }),
      headers: { "content-type": "application/json" },
      body: [Buffer.from(JSON.stringify(metadata))],
    });
  }

  /** Throws `blob-not-found`. */
  async remove(object: string, call: Call): Promise<void> {
    await this.#call(call, { method: "DELETE", path: this.#objectPath(object, {}) });
  }

  /** In order of names, page by page; with `versions` also what was replaced or deleted, oldest generation first. */
  async *list(
    prefix: string,
    { versions = false, pageSize = LARGEST_PAGE, ...call }: Listing,
  ): AsyncGenerator<ObjectInfo> {
    let pageToken: string | undefined;
    do {
      const query = queryOf({
        prefix,
        maxResults: String(pageSize),
        fields: `items(${versions ? VERSION_FIELDS : OBJECT_FIELDS}),nextPageToken`,
        versions: versions ? "true" : undefined,
        pageToken,
      });
      const path = `/storage/v1/b/${encodeURIComponent(this.name)}/o${query}`;
      const answer = await this.#call(call, { method: "GET", path });
      const { objects, nextPageToken } = decodeList(answer.body, call.what);
      yield* objects;
      if (nextPageToken !== undefined && nextPageToken === pageToken) {
        throw new VarveError("storage-failed", `${call.what}: the same page twice`);
      }
      pageToken = nextPageToken;
    } while (pageToken !== undefined);
  }

  /** Whole names, up to the first slash after `prefix`. */
  async *folders(prefix: string, call: Call): AsyncGenerator<string> {
    let pageToken: string | undefined;
    do {
      const query = queryOf({
        prefix,
        delimiter: "/",
        maxResults: String(LARGEST_PAGE),
        fields: "prefixes,nextPageToken",
        pageToken,
      });
      const path = `/storage/v1/b/${encodeURIComponent(this.name)}/o${query}`;
      const answer = await this.#call(call, { method: "GET", path });
      const { folders, nextPageToken } = decodeList(answer.body, call.what);
      yield* folders;
      if (nextPageToken !== undefined && nextPageToken === pageToken) {
        throw new VarveError("storage-failed", `${call.what}: the same page twice`);
      }
      pageToken = nextPageToken;
    } while (pageToken !== undefined);
  }

  /** Whether the bucket keeps what is replaced or deleted; needs permission `storage.buckets.get`. */
  async keepsVersions(call: Call): Promise<boolean> {
    const path = `/storage/v1/b/${encodeURIComponent(this.name)}?fields=versioning`;
    const { body } = await this.#call(call, { method: "GET", path });
    return decodeVersioning(body, call.what);
  }

  /** Ends the connections. */
  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  #objectPath(object: string, query: Readonly<Record<string, string | undefined>>): string {
    const bucket = encodeURIComponent(this.name);
    return `/storage/v1/b/${bucket}/o/${encodeURIComponent(object)}${queryOf(query)}`;
  }

  async #call(
    call: Call,
    exchange: Omit<Exchange, "what" | "signal">,
    expected: readonly number[] = [],
  ): Promise<Answer> {
    const answer = await this.#transport.send({ ...exchange, ...call });
    const isFine =
      (answer.status >= 200 && answer.status <= 299) || expected.includes(answer.status);
    if (!isFine) {
      const ofObject = OBJECT_PATH.test(exchange.path);
      throw refusalError({ what: call.what, bucket: this.name, ofObject }, answer);
    }
    return answer;
  }
}

/** Of the session that an upload has; sent to the same server, wherever the answer says it is. */
function sessionPath({ headers }: Answer, { what }: Call): string {
  try {
    const { pathname, search } = new URL(headers.location ?? "");
    return pathname + search;
  } catch (cause) {
    throw new VarveError("storage-failed", `${what}: Google names no session`, { cause });
  }
}

function queryOf(members: Readonly<Record<string, string | undefined>>): string {
  const query = Object.entries(members)
    .filter(([, value]) => value !== undefined)
    .map(([name, value = ""]) => `${name}=${encodeURIComponent(value)}`);
  return query.length === 0 ? "" : `?${query.join("&")}`;
}

function exactRange(
  { status, headers, body }: Answer,
  { offset, length }: { readonly offset: number; readonly length: number },
  { what }: Call,
): Uint8Array {
  // Who does not know of ranges sends all.
  const bytes = status === 206 ? body : body.slice(offset, offset + length);
  if (bytes.length === length) {
    return bytes;
  }
  const total = Number(/\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1] ?? body.length);
  const message = `${what}: ${bytes.length} of ${length} bytes at ${offset}, of ${total} in all`;
  throw offset + length > total
    ? new VarveError("range-invalid", message)
    : new VarveError("storage-failed", message, { retryable: true });
}

/** What the service says that it stored must be what arrived. */
function checkHash({ headers, body }: Answer, { what }: Call): void {
  const hashes = [headers["x-goog-hash"] ?? []].flat().join(",");
  const expected = /(?:^|,)\s*md5=([\w+/=]+)/.exec(hashes)?.[1];
  if (expected !== undefined && createHash("md5").update(body).digest("base64") !== expected) {
    const message = `${what}: the ${body.length} bytes that arrived do not have their hash`;
    throw new VarveError("storage-failed", message, { retryable: true });
  }
}

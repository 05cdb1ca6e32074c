import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  type ObjectLockRetentionMode,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectRetentionCommand,
  type StorageClass,
} from "@aws-sdk/client-s3";
import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type CallOptions,
  type GetOptions,
  isVarveError,
  type PutOptions,
  type Retention,
  type StoreFeature,
  VarveError,
} from "@varve/core/blob";
import type { S3Bucket } from "./bucket.ts";
import { listPages } from "./listing.ts";
import type { S3Encryption, StorageClassRule } from "./options.ts";
import { storageClassOf } from "./storage-classes.ts";

/**
 * Blobs as objects of one bucket, named prefix + id, as Kopia's s3 provider lays them out (spec §6.6), so that both
 * can work on the same bucket at the same time. Every call is one request, except an extension of retention, a put
 * with `exactTime`, and a list of more than a thousand. Nothing is tried twice: wrap the store in core's `retryStore`.
 */

export interface S3StoreSettings {
  readonly features: ReadonlySet<StoreFeature>;
  /** Asked before the first put under retention where `features` has `object-lock`. */
  readonly mayHaveLock?: (() => Promise<boolean>) | undefined;
  readonly storageClasses: readonly StorageClassRule[];
  readonly serverSideEncryption: S3Encryption | undefined;
  readonly checksum: "md5" | "sha256";
  /** The payload's hash is part of the signature, as it must be where TLS does not protect it. */
  readonly signBodies: boolean;
}

const CONTENT_TYPE = "application/x-kopia";

export class S3Store implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature>;
  /** Not in directory buckets. */
  readonly listsInOrder: boolean;
  readonly #bucket: S3Bucket;
  readonly #settings: S3StoreSettings;
  #isLocking = false;

  constructor(bucket: S3Bucket, settings: S3StoreSettings) {
    this.label = bucket.label;
    this.features = settings.features;
    this.listsInOrder = !bucket.name.endsWith("--x-s3");
    this.#bucket = bucket;
    this.#settings = settings;
  }

  async get(id: BlobId, options: GetOptions = {}): Promise<Uint8Array> {
    return await this.#bucket.get(id, options);
  }

  async stat(id: BlobId, options: CallOptions = {}): Promise<BlobInfo> {
    return await this.#bucket.stat(id, options);
  }

  async put(id: BlobId, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<BlobInfo> {
    const { signal, ifAbsent = false, mtimeMs, retention, exactTime = false } = options;
    const what = `put ${id}`;
    if (mtimeMs !== undefined) {
      throw new VarveError("unsupported", `${what}: an object's time cannot be set`);
    }
    this.#require(ifAbsent ? "put-if-absent" : undefined, what);
    if (retention !== undefined) {
      await this.#requireLock(what);
    }
    signal?.throwIfAborted();
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    const sha256 = this.#wantsSha256 ? digest("sha256", parts) : undefined;
    const command = new PutObjectCommand({
      ...this.#bucket.target(id),
      Body: bodyOf(parts, size),
      ContentLength: size,
      ContentType: CONTENT_TYPE,
      ...this.#checksum(parts, sha256),
      ...placement(id, this.#settings),
      ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
      ...(retention === undefined ? {} : lockOf(retention)),
    });
    let date: string | undefined;
    const payload = signedPayload(this.#settings.signBodies ? sha256 : undefined, (response) => {
      date = headersOf(response)["date"];
    });
    command.middlewareStack.add(payload, PAYLOAD_STEP);
    const needs = `s3:PutObject${retention === undefined ? "" : " and s3:PutObjectRetention"}`;
    await this.#bucket.run({ what, needs }, signal, (abortSignal) =>
      this.#bucket.client.send(command, { abortSignal }),
    );
    if (exactTime) {
      return await this.#bucket.stat(id, { signal });
    }
    const storedMs = Date.parse(date ?? "");
    return {
      id,
      size,
      mtimeMs: Number.isNaN(storedMs) ? this.#bucket.environment.nowMs() : storedMs,
    };
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncGenerator<BlobInfo> {
    const bucket = this.#bucket;
    const what = `list ${JSON.stringify(prefix)}`;
    for await (const { objects } of listPages(bucket, bucket.prefix + prefix, { what, signal })) {
      for (const object of objects) {
        const info = bucket.info(object);
        if (info?.id.startsWith(prefix)) {
          yield info;
        }
      }
    }
  }

  async delete(id: BlobId, { signal }: CallOptions = {}): Promise<void> {
    const command = new DeleteObjectCommand(this.#bucket.target(id));
    try {
      await this.#bucket.run(
        { what: `delete ${id}`, needs: "s3:DeleteObject" },
        signal,
        (abortSignal) => this.#bucket.client.send(command, { abortSignal }),
      );
    } catch (error) {
      if (!isVarveError(error, "blob-not-found")) {
        throw error;
      }
    }
  }

  async extendRetention(
    id: BlobId,
    retention: Retention,
    { signal }: CallOptions = {},
  ): Promise<void> {
    const what = `extend retention of ${id}`;
    await this.#requireLock(what);
    const needs = "s3:GetObjectRetention and s3:PutObjectRetention";
    const bucket = this.#bucket;
    await bucket.run({ what, needs }, signal, async (abortSignal) => {
      const { mode: Mode, untilMs } = await this.#retention(id, abortSignal);
      if (untilMs >= retention.untilMs) {
        return;
      }
      const asked = lockOf(retention);
      const command = new PutObjectRetentionCommand({
        ...bucket.target(id),
        Retention: {
          Mode: Mode === "COMPLIANCE" ? Mode : asked.ObjectLockMode, // which nothing weakens
          RetainUntilDate: asked.ObjectLockRetainUntilDate,
        },
      });
      await bucket.client.send(command, { abortSignal });
    });
  }

  async #retention(
    id: BlobId,
    abortSignal: AbortSignal,
  ): Promise<{ mode: ObjectLockRetentionMode | undefined; untilMs: number }> {
    const command = new GetObjectRetentionCommand(this.#bucket.target(id));
    try {
      const { Retention: found } = await this.#bucket.client.send(command, { abortSignal });
      return { mode: found?.Mode, untilMs: found?.RetainUntilDate?.getTime() ?? 0 };
    } catch (error) {
      if (error instanceof Error && error.name === "NoSuchObjectLockConfiguration") {
        return { mode: undefined, untilMs: 0 };
      }
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bucket.close();
  }

  get #wantsSha256(): boolean {
    return this.#settings.signBodies || this.#settings.checksum === "sha256";
  }

  #checksum(
    parts: readonly Uint8Array[],
    sha256: Buffer | undefined,
  ): Partial<PutObjectCommandInput> {
    return this.#settings.checksum === "sha256"
      ? { ChecksumSHA256: sha256?.toString("base64") }
      : { ContentMD5: digest("md5", parts).toString("base64") };
  }

  async #requireLock(what: string): Promise<void> {
    this.#require("object-lock", what);
    if (!this.#isLocking && (await this.#settings.mayHaveLock?.()) === false) {
      throw new VarveError("unsupported", `${what}: ${this.label} has no object-lock`);
    }
    this.#isLocking = true;
  }

  #require(feature: StoreFeature | undefined, what: string): void {
    if (feature !== undefined && !this.features.has(feature)) {
      throw new VarveError("unsupported", `${what}: ${this.label} has no ${feature}`);
    }
  }
}

function lockOf({ mode, untilMs }: Retention): {
  ObjectLockMode: ObjectLockRetentionMode;
  ObjectLockRetainUntilDate: Date;
} {
  // S3 knows no mode `locked`; what it means, a lock that nobody lifts, is compliance.
  const ObjectLockMode = mode === "governance" ? "GOVERNANCE" : "COMPLIANCE";
  return { ObjectLockMode, ObjectLockRetainUntilDate: new Date(untilMs) };
}

/** Storage class and encryption of an object. */
export function placement(
  id: BlobId,
  { serverSideEncryption, storageClasses }: S3StoreSettings,
): Pick<PutObjectCommandInput, "StorageClass" | "ServerSideEncryption" | "SSEKMSKeyId"> {
  const storageClass = storageClassOf(id, storageClasses);
  return {
    // Services have classes of their own names.
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass }),
    ...(serverSideEncryption === undefined
      ? {}
      : { ServerSideEncryption: serverSideEncryption.algorithm }),
    ...(serverSideEncryption?.algorithm === "aws:kms" && serverSideEncryption.keyId !== undefined
      ? { SSEKMSKeyId: serverSideEncryption.keyId }
      : {}),
  };
}

export const PAYLOAD_STEP = { step: "build", name: "varvePayload" } as const;

/** Says what the signature of a request covers: the hash of its body, or nothing of it. For {@link PAYLOAD_STEP}. */
export function signedPayload(
  sha256: Buffer | undefined,
  onResponse: (response: unknown) => void = () => {},
) {
  return <A extends { request: unknown }, R extends { response: unknown }>(
    next: (args: A) => Promise<R>,
  ) =>
    async (args: A): Promise<R> => {
      headersOf(args.request)["x-amz-content-sha256"] =
        sha256?.toString("hex") ?? "UNSIGNED-PAYLOAD";
      const result = await next(args);
      onResponse(result.response);
      return result;
    };
}

export function digest(algorithm: string, parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of parts) {
    hash.update(part);
  }
  return hash.digest();
}

// Small parts are joined up to this, so that they are not a packet each.
const PIECE_BYTES = 262_144;

function bodyOf(parts: readonly Uint8Array[], size: number): Uint8Array | Readable {
  return size <= PIECE_BYTES ? Buffer.concat(parts) : Readable.from(piecesOf(parts));
}

function* piecesOf(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  let small: Uint8Array[] = [];
  let smallBytes = 0;
  for (const part of parts) {
    if (smallBytes + part.length > PIECE_BYTES && smallBytes > 0) {
      yield Buffer.concat(small);
      small = [];
      smallBytes = 0;
    }
    if (part.length > PIECE_BYTES) {
      yield part;
    } else {
      small.push(part);
      smallBytes += part.length;
    }
  }
  if (smallBytes > 0) {
    yield Buffer.concat(small);
  }
}

/** Of an HTTP request or answer as it passes through the SDK, which leaves their types open. */
function headersOf(message: unknown): Record<string, string> {
  const { headers } = message as { headers?: Record<string, string> }; // both have them
  return headers ?? {};
}

import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type CallOptions,
  type Environment,
  type GetOptions,
  isVarveError,
  type PutOptions,
  type Retention,
  readOnlyStore,
  resolveRange,
  type StoreFeature,
  systemEnvironment,
  VarveError,
} from "@varve/core/blob";
import { Bucket } from "./bucket.ts";
import { type Authorizer, authorizer } from "./credentials.ts";
import { blobIdOf, blobInfo, mtimeMetadata } from "./object-json.ts";
import {
  type GcsStoreOptions,
  serviceUrl,
  type StorageClassRule,
  storageClassOf,
} from "./options.ts";
import { openPointInTimeStore } from "./point-in-time-store.ts";
import { Transport } from "./transport.ts";

/**
 * Blobs as objects of one bucket, named prefix + id, as Kopia's gcs provider lays them out (spec §1.4, §6.6), so that
 * both can work on the same bucket at the same time. Every call is one request, except an extension of retention, which
 * is two. Nothing is tried twice here: wrap the store in core's `retryStore`.
 */

const DEFAULT_IDLE_TIMEOUT_MS = 60_000;

/**
 * Opens a bucket, which must exist: asks for one entry of its list, and leaves nothing behind. Throws
 * `invalid-argument`, `access-denied` (no credentials, expired ones, or no permission to list), `storage-failed` (no
 * such bucket, no connection) and `unsupported` (a point in time of a bucket that keeps no versions).
 */
export async function openGcsStore(options: GcsStoreOptions): Promise<BlobStore> {
  const { bucket: name, prefix = "", pointInTimeMs, readOnly = false, signal } = options;
  const { bucket, transport } = await connect(options);
  try {
    if (pointInTimeMs !== undefined) {
      return await openPointInTimeStore(bucket, { prefix, pointInTimeMs, signal });
    }
    const what = `open gs://${name}/${prefix}`;
    await bucket.list(prefix, { what, pageSize: 1, signal }).next();
    const { objectLock = true, storageClasses } = options;
    const store = new GcsStore(bucket, { prefix, objectLock, storageClasses });
    return readOnly ? readOnlyStore(store) : store;
  } catch (error) {
    transport[Symbol.dispose]();
    throw error;
  }
}

/** Without a request. Throws `invalid-argument`. */
export async function connect(options: GcsStoreOptions): Promise<Connection> {
  const { bucket: name, pointInTimeMs, readOnly = false } = options;
  if (name === "") {
    throw new VarveError("invalid-argument", "no bucket");
  }
  const environment = options.environment ?? systemEnvironment();
  const asker = await authorizer(options.credentials ?? { kind: "application-default" }, {
    readOnly: readOnly || pointInTimeMs !== undefined,
  });
  const endpoint = serviceUrl(options.endpoint);
  const transport = new Transport({
    endpoint,
    authorizer: asker,
    certificateAuthority: options.certificateAuthority,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    environment,
  });
  const bucket = new Bucket({ name, transport, environment, kmsKeyName: options.kmsKeyName });
  return { bucket, transport, endpoint, authorizer: asker, environment };
}

export interface Connection {
  readonly bucket: Bucket;
  readonly transport: Transport;
  readonly endpoint: string;
  readonly authorizer: Authorizer;
  readonly environment: Environment;
}

interface Settings {
  readonly prefix: string;
  readonly objectLock: boolean;
  readonly storageClasses: readonly StorageClassRule[] | undefined;
  /** The connections are another's, and stay open. */
  readonly connectionsAreShared?: boolean;
}

export class GcsStore implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature>;
  readonly listsInOrder: boolean = true;
  readonly #bucket: Bucket;
  readonly #prefix: string;
  readonly #connectionsAreShared: boolean;
  readonly #storageClasses: readonly StorageClassRule[] | undefined;

  constructor(bucket: Bucket, settings: Settings) {
    const { prefix, objectLock, storageClasses, connectionsAreShared = false } = settings;
    const features: StoreFeature[] = ["put-if-absent", "set-mtime"];
    this.label = `gs://${bucket.name}/${prefix}`;
    this.features = new Set(objectLock ? [...features, "object-lock"] : features);
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#connectionsAreShared = connectionsAreShared;
    this.#storageClasses = storageClasses;
  }

  async get(id: BlobId, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    resolveRange(id, Number.MAX_SAFE_INTEGER, range); // is it a range at all?
    if (range?.length === 0) {
      resolveRange(id, (await this.stat(id, { signal })).size, range);
      return new Uint8Array(0);
    }
    const what = `get ${id}`;
    return await this.#bucket.download(this.#prefix + id, { what, range, into, signal });
  }

  async put(id: BlobId, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<BlobInfo> {
    const { ifAbsent = false, mtimeMs, retention, signal } = options;
    const storageClass = storageClassOf(id, this.#storageClasses);
    const info = await this.#bucket.upload(this.#prefix + id, {
      what: `put ${id}`,
      parts,
      ifAbsent,
      signal,
      metadata: {
        contentType: "application/x-kopia",
        ...(storageClass === undefined ? {} : { storageClass }),
        ...(mtimeMs === undefined ? {} : { metadata: mtimeMetadata(mtimeMs) }),
        ...(retention === undefined ? {} : { retention: this.#locked(retention, `put ${id}`) }),
      },
    });
    return blobInfo(id, info);
  }

  async stat(id: BlobId, { signal }: CallOptions = {}): Promise<BlobInfo> {
    return blobInfo(id, await this.#bucket.info(this.#prefix + id, { what: `stat ${id}`, signal }));
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncGenerator<BlobInfo> {
    const what = `list ${JSON.stringify(prefix)}`;
    for await (const object of this.#bucket.list(this.#prefix + prefix, { what, signal })) {
      const id = blobIdOf(object.name, this.#prefix);
      if (id !== undefined) {
        yield blobInfo(id, object);
      }
    }
  }

  async delete(id: BlobId, { signal }: CallOptions = {}): Promise<void> {
    try {
      await this.#bucket.remove(this.#prefix + id, { what: `delete ${id}`, signal });
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
    const call = { what: `extend retention of ${id}`, signal };
    const locked = this.#locked(retention, call.what);
    const { retainUntilMs = 0 } = await this.#bucket.info(this.#prefix + id, call);
    // A shorter one would be refused.
    if (Date.parse(locked.retainUntilTime) > retainUntilMs) {
      await this.#bucket.update(this.#prefix + id, { retention: locked }, call);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#connectionsAreShared) {
      this.#bucket[Symbol.dispose]();
    }
  }

  /** Whatever the mode, Kopia locks for good on GCS, and whole seconds (spec §6.1, §6.6). */
  #locked(retention: Retention, what: string): { mode: "Locked"; retainUntilTime: string } {
    if (!this.features.has("object-lock")) {
      throw new VarveError("unsupported", `${what}: opened without object lock`);
    }
    const seconds = Math.floor(retention.untilMs / 1000);
    return { mode: "Locked", retainUntilTime: new Date(seconds * 1000).toISOString() };
  }
}

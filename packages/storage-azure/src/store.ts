import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type CallOptions,
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
import {
  AzureContainer,
  bodyOf,
  contentMd5,
  download,
  mtimeMetadata,
  mtimeOf,
} from "./container.ts";
import { connectService } from "./credentials.ts";
import { type AccessTierRule, type AzureStoreOptions, tierOf } from "./options.ts";
import { openPointInTimeStore } from "./point-in-time-store.ts";

/**
 * Blobs as block blobs of one container, named prefix + id, as Kopia's azure provider lays them out (spec §6.6), so
 * that both can work on the same container at the same time. Every call is one request, except a delete of what is
 * immutable and an extension of retention. Nothing is tried twice here: wrap the store in core's `retryStore`.
 */

const DEFAULT_IDLE_TIMEOUT_MS = 60_000;

/**
 * Opens a container, which must exist: asks for one entry of its list, and leaves nothing behind. Throws
 * `invalid-argument`, `access-denied` (wrong key, expired token, no permission to list), `storage-failed` (no such
 * container or account, no connection) and `unsupported` (a point in time of a container that keeps no versions).
 */
export async function openAzureStore(options: AzureStoreOptions): Promise<BlobStore> {
  const { prefix = "", pointInTimeMs, signal } = options;
  const container = await openContainer(options);
  if (pointInTimeMs !== undefined) {
    return readOnlyStore(await openPointInTimeStore(container, { pointInTimeMs, signal }));
  }
  const what = `open ${container.label}`;
  // The prefix is one that no blob has, since ids have no colon.
  const probe = container.items(`${prefix}:`, { what, pageSize: 1, signal });
  await probe.next();
  const { objectLock = true, accessTiers } = options;
  const store = new AzureStore(container, { objectLock, accessTiers });
  return options.readOnly === true ? readOnlyStore(store) : store;
}

/** Without a request. Throws `invalid-argument`. */
export async function openContainer(options: AzureStoreOptions): Promise<AzureContainer> {
  const { container, prefix = "" } = options;
  if (container === "") {
    throw new VarveError("invalid-argument", "no container");
  }
  const service = await connectService(options);
  return new AzureContainer(service, {
    container,
    account: service.client.accountName,
    prefix,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    environment: options.environment ?? systemEnvironment(),
  });
}

interface Settings {
  readonly objectLock: boolean;
  readonly accessTiers: readonly AccessTierRule[] | undefined;
}

export class AzureStore implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature>;
  readonly listsInOrder: boolean = true;
  readonly #container: AzureContainer;
  readonly #accessTiers: readonly AccessTierRule[] | undefined;
  #retentionIsKept: boolean | undefined;

  constructor(container: AzureContainer, { objectLock, accessTiers }: Settings) {
    this.label = container.label;
    const features: StoreFeature[] = ["put-if-absent", "set-mtime"];
    this.features = new Set(objectLock ? [...features, "object-lock"] : features);
    this.#container = container;
    this.#accessTiers = accessTiers;
  }

  async get(id: BlobId, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    resolveRange(id, Number.MAX_SAFE_INTEGER, range); // is it a range at all?
    if (range?.length === 0) {
      const { size } = await this.stat(id, { signal });
      resolveRange(id, size, range);
      return new Uint8Array(0);
    }
    return await this.#container.run({ what: `get ${id}`, needs: "read" }, signal, (watch) =>
      download(this.#container.blob(id), { range, into, watch }),
    );
  }

  async put(id: BlobId, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<BlobInfo> {
    const { ifAbsent = false, mtimeMs, retention, signal } = options;
    this.#requireObjectLock(retention, `put ${id}`);
    const [only = new Uint8Array(0)] = parts;
    const bytes = parts.length <= 1 ? only : Buffer.concat(parts);
    const tier = tierOf(id, this.#accessTiers);
    const attempt = { what: `put ${id}`, needs: "write" } as const;
    const { lastModified } = await this.#container.run(attempt, signal, (watch) =>
      this.#container.blob(id).upload(bodyOf(bytes, watch), bytes.length, {
        abortSignal: watch.abortSignal,
        blobHTTPHeaders: { blobContentMD5: contentMd5(bytes) },
        metadata: mtimeMetadata(mtimeMs),
        ...(ifAbsent ? { conditions: { ifNoneMatch: "*" } } : {}),
        ...(tier === undefined ? {} : { tier }),
        ...(retention === undefined ? {} : { immutabilityPolicy: lockedUntil(retention) }),
      }),
    );
    if (retention !== undefined && this.#retentionIsKept === undefined) {
      await this.#checkRetention(id, retention, signal);
    }
    const storedMs = lastModified?.getTime() ?? this.#container.environment.nowMs();
    return { id, size: bytes.length, mtimeMs: mtimeMs ?? storedMs };
  }

  async stat(id: BlobId, { signal }: CallOptions = {}): Promise<BlobInfo> {
    const attempt = { what: `stat ${id}`, needs: "read" } as const;
    return await this.#container.run(attempt, signal, async ({ abortSignal }) => {
      const seen = await this.#container.blob(id).getProperties({ abortSignal });
      const { contentLength: size = 0, lastModified, metadata } = seen;
      return { id, size, mtimeMs: mtimeOf(metadata) ?? lastModified?.getTime() ?? 0 };
    });
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncGenerator<BlobInfo> {
    const what = `list ${JSON.stringify(prefix)}`;
    const names = this.#container.prefix + prefix;
    for await (const item of this.#container.items(names, { what, signal })) {
      const info = this.#container.info(item);
      if (info !== undefined) {
        yield info;
      }
    }
  }

  async delete(id: BlobId, { signal }: CallOptions = {}): Promise<void> {
    const attempt = { what: `delete ${id}`, needs: "delete" } as const;
    try {
      await this.#container.run(attempt, signal, ({ abortSignal }) =>
        this.#container.blob(id).delete({ abortSignal }),
      );
    } catch (error) {
      if (isVarveError(error, "blob-locked")) {
        await this.#hideImmutable(id, signal);
      } else if (!isVarveError(error, "blob-not-found")) {
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
    this.#requireObjectLock(retention, what);
    const lock = lockedUntil(retention);
    const until = await this.#lockedUntil(id, what, signal);
    // The service refuses to shorten only a policy that is locked already.
    if (until === undefined || until < lock.expiriesOn) {
      const attempt = { what, needs: "set immutability on" } as const;
      await this.#container.run(attempt, signal, ({ abortSignal }) =>
        this.#container.blob(id).setImmutabilityPolicy(lock, { abortSignal }),
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #requireObjectLock(retention: Retention | undefined, what: string): void {
    if (retention !== undefined && !this.features.has("object-lock")) {
      throw new VarveError("unsupported", `${what}: ${this.label} was opened without object lock`);
    }
  }

  /** Looks once whether retention is there at all: a service without it may leave out what it does not know. */
  async #checkRetention(
    id: BlobId,
    retention: Retention,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const until = await this.#lockedUntil(id, `put ${id}`, signal);
    if (until === undefined || until < lockedUntil(retention).expiriesOn) {
      const why = "the container has no version-level immutability, so the blob is not protected";
      throw new VarveError("unsupported", `put ${id}: ${why}`);
    }
    this.#retentionIsKept = true;
  }

  async #lockedUntil(
    id: BlobId,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<Date | undefined> {
    return await this.#container.run({ what, needs: "read" }, signal, async ({ abortSignal }) => {
      const properties = await this.#container.blob(id).getProperties({ abortSignal });
      return properties.immutabilityPolicyExpiresOn;
    });
  }

  /**
   * A version that is locked stays until its time; what can be done is to put an empty version in front of it whose
   * policy may be dropped, and delete that, so that the blob is gone from lists (spec §6.6).
   */
  async #hideImmutable(id: BlobId, signal: AbortSignal | undefined): Promise<void> {
    const blob = this.#container.blob(id);
    const attempt = { what: `delete ${id}`, needs: "set immutability on" } as const;
    const request = <T>(work: (abortSignal: AbortSignal) => Promise<T>): Promise<T> =>
      this.#container.run(attempt, signal, ({ abortSignal }) => work(abortSignal));
    const expiriesOn = new Date(this.#container.environment.nowMs() + MARKER_MS);
    const immutabilityPolicy = { expiriesOn, policyMode: "Unlocked" } as const;
    const { versionId } = await request((abortSignal) =>
      blob.upload("", 0, { abortSignal, immutabilityPolicy }),
    );
    await request((abortSignal) => blob.deleteImmutabilityPolicy({ abortSignal }));
    await request((abortSignal) => blob.delete({ abortSignal }));
    if (versionId !== undefined) {
      try {
        await request((abortSignal) => blob.withVersion(versionId).delete({ abortSignal }));
      } catch {
        signal?.throwIfAborted(); // an empty version that stays behind does no harm
      }
    }
  }
}

const MARKER_MS = 60_000;

/** Azure knows one kind of retention that nobody can end; whole seconds, never too early. */
function lockedUntil({ untilMs }: Retention): { expiriesOn: Date; policyMode: "Locked" } {
  return { expiriesOn: new Date(Math.ceil(untilMs / 1000) * 1000), policyMode: "Locked" };
}

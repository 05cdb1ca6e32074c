import { toHex } from "../base/bytes.ts";
import { type CallOptions, type Environment, systemEnvironment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { type MemoryPlan, planMemory } from "../base/memory-plan.ts";
import type { DamagedBlob } from "../blob/damaged-blob.ts";
import { type CacheSource, SwitchedCache } from "../blob/blob-cache.ts";
import { listAhead } from "../blob/list-ahead.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Codecs } from "../compression/codec.ts";
import { openCodecs } from "../compression/registry.ts";
import { keysFit } from "../content/keys-fit.ts";
import { type OpenContentStore, openContentStore } from "../content/open-content-store.ts";
import { type Crypto, openCrypto } from "../crypto/registry.ts";
import { firstIndexList } from "../epoch/epoch-index-blobs.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { BLOB_CONFIG, FORMAT_BLOB, type RepositoryFormat } from "../format/format.ts";
import { readRepositoryFormat } from "../format/read-format.ts";
import { retainingStore } from "../format/retaining-store.ts";
import { createSealer } from "../format/sealer.ts";
import type { ScratchFile } from "../index/slabs.ts";
import { openManifestStore } from "../manifest/open-manifest-store.ts";
import { openObjectStore } from "../object/open-object-store.ts";
import { createExecutor } from "../pipeline/create-executor.ts";
import type { Executor } from "../pipeline/executor.ts";
import { refuseUpgradeLock, watchFormat } from "./format-watch.ts";
import type { RepositoryDamage } from "./damage.ts";
import type { ClientIdentity, Repository } from "./repository.ts";
import { repositorySplitters } from "./repository-splitters.ts";
import { type SealedNotes, sealedNotes } from "./sealed-notes.ts";

/**
 * Opens a repository: reads its format, derives the keys once, loads the index, and wires the layers below into one
 * value (architecture, "A backup", step 1). It decides nothing that a layer could decide.
 */

export interface OpenRepositoryOptions extends CallOptions {
  readonly password: string;
  /** From `readRepositoryFormat` with this store and password, when that was begun before; it need not have ended. */
  readonly format?: RepositoryFormat | Promise<RepositoryFormat> | undefined;
  /** Refuse every write; default false. */
  readonly readOnly?: boolean | undefined;
  /** Threads for backing up files; default 0, which works on the calling thread. */
  readonly workers?: number | undefined;
  /**
   * A ceiling for everything that is held in memory, the program's own included; at least about 260 MiB. Parts are made
   * smaller to fit, threads fewer, and what the index needs beyond its share lies in a file. Default: none.
   */
  readonly maxMemoryBytes?: number | undefined;
  /** What it is opened for decides how a ceiling is divided: `maintenance` backs up no files. Default `backup`. */
  readonly work?: "backup" | "maintenance" | undefined;
  /** Where that file lies, without a name where the system allows it; default the system's directory for such files. */
  readonly scratchDirectory?: string | undefined;
  /**
   * Keeps index blobs and metadata on this machine, as sealed as in storage: from `openCacheFolder`. Pays where storage is far
   * away. Default: none.
   */
  readonly cache?: CacheSource | undefined;
  /**
   * Keeps on this machine, sealed, what a backup found in a source, so that the next one need not read what it stored of
   * folders that have not changed: from `openCacheFolder`. Default: the same as `cache`.
   */
  readonly notes?: CacheSource | undefined;
  /** Default: the real clock and random source, and no log. */
  readonly environment?: Environment | undefined;
  /** Default `varve@localhost`. */
  readonly client?: ClientIdentity | undefined;
  /** To be shared between repositories; left out, the repository makes one and disposes of it. */
  readonly executor?: Executor | undefined;
}

/**
 * The store stays the caller's, to be wrapped in `retryStore` by whoever wants retries, and to be disposed of after the
 * repository. Damaged blobs are left out and named in `damage`, but for the format blob: that is `corrupt`. Throws
 * `not-a-repository`, `wrong-password`, `invalid-argument` for a ceiling that is too low, and `format-unsupported` for what varve
 * does not know and while an upgrade has locked the repository.
 */
export async function openRepository(
  store: BlobStore,
  options: OpenRepositoryOptions,
): Promise<Repository> {
  const { password, signal, environment = systemEnvironment() } = options;
  // The key is derived in the thread pool: a fifth of a second in which this thread can load what it needs next, and storage
  // can list what will be read then.
  const ahead = listAhead(store, firstIndexList(store), { environment, signal });
  try {
    const [format, codecs] = await Promise.all([
      options.format ?? readRepositoryFormat(store, { password, signal }),
      openCodecs(),
    ]);
    const crypto = await openCrypto({ hashes: [format.hash] });
    return await openWithFormat(store, format, { ...options, crypto, codecs, ahead: ahead.store });
  } finally {
    await ahead.ended;
  }
}

/** Like {@link openRepository}, for a format that is unlocked already. */
export async function openWithFormat(
  store: BlobStore,
  format: RepositoryFormat,
  options: OpenRepositoryOptions & {
    readonly crypto: Crypto;
    readonly codecs: Codecs;
    /** `store`, with a list of index blobs that is under way. */
    readonly ahead?: BlobStore | undefined;
  },
): Promise<Repository> {
  const { crypto, codecs, password, signal, ahead = store } = options;
  const environment = options.environment ?? systemEnvironment();
  const client = options.client ?? { username: "varve", hostname: "localhost" };
  const readOnly = options.readOnly ?? false;
  refuseUpgradeLock(format, environment);
  warnOfFeatures(format, environment);
  if (format.blobConfigDamage !== undefined) {
    const message = `new blobs will not be locked: ${format.blobConfigDamage.message}`;
    environment.log({ level: "warning", message });
  }
  const memory = planMemory({
    limitBytes: options.maxMemoryBytes,
    workers: options.workers ?? 0,
    packSizeBytes: format.maxPackSize,
    work: readOnly ? "reading" : options.work,
  });
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const sealer = createSealer(format, { crypto, randomBytes });
  const retaining = retainingStore(store, { retention: format.retention, environment });
  const repositoryId = toHex(format.uniqueId);
  const cache = options.cache && new SwitchedCache(options.cache.cacheOf(repositoryId));
  const notes = options.notes ?? options.cache;
  const contents = await openContentStore({
    store: retaining,
    format,
    crypto,
    sealer,
    codecs,
    indexBlobs: createIndexBlobs({
      store: retainingStore(ahead, { retention: format.retention, environment }),
      ...{ sealer, format, environment, cache },
    }),
    cache,
    environment,
    owner: client,
    readOnly,
    memory,
    scratch: memory.limitBytes === undefined ? undefined : await openScratch(options),
    beforeCommit: watchFormat(store, format, { password, crypto, environment }),
    signal,
  });
  const isBlank = contents.entries({ deleted: true })[Symbol.iterator]().next().done === true;
  if (
    isBlank &&
    contents.damagedIndexBlobs.length > 0 &&
    !(await keysFit(store, { sealer, signal }))
  ) {
    await contents.close();
    throw new VarveError(
      "corrupt",
      `${FORMAT_BLOB} is damaged, and can be repaired: its keys open nothing in ${store.label}`,
    );
  }
  const splitters = repositorySplitters(format.splitter);
  const { hash, encryption, secret, masterKey, ecc, indexVersion } = format;
  const executor =
    options.executor ??
    createExecutor({
      parameters: { hash, encryption, secret, masterKey, ecc, indexVersion },
      workers: memory.workers,
      jobsPerWorker: memory.jobsPerWorker,
      environment,
    });
  return new OpenRepository({
    blobs: store,
    format,
    readOnly,
    contents,
    objects: openObjectStore({
      contents,
      codecs,
      splitter: splitters(undefined),
      indexVersion,
    }),
    manifests: openManifestStore({ contents, codecs, environment, readOnly }),
    memory,
    openScratch: () => openScratch(options),
    executor,
    ownsExecutor: options.executor === undefined,
    codecs,
    splitter: splitters,
    environment,
    client,
    notes: notes && sealedNotes(notes.cacheOf(repositoryId), sealer),
  });
}

/** Loaded only when needed: a host without files can open repositories without a ceiling. */
async function openScratch({ scratchDirectory }: OpenRepositoryOptions): Promise<ScratchFile> {
  const { openScratchFile } = await import("../content/scratch-file.ts");
  return openScratchFile(scratchDirectory);
}

type Wired = Omit<
  Repository,
  "refresh" | "flush" | "contents" | "damage" | typeof Symbol.asyncDispose
> & {
  readonly contents: OpenContentStore;
  readonly ownsExecutor: boolean;
};

class OpenRepository implements Repository {
  readonly blobs: Repository["blobs"];
  readonly format: Repository["format"];
  readonly readOnly: Repository["readOnly"];
  readonly contents: OpenContentStore;
  readonly objects: Repository["objects"];
  readonly manifests: Repository["manifests"];
  readonly memory: MemoryPlan;
  readonly openScratch: Repository["openScratch"];
  readonly executor: Repository["executor"];
  readonly codecs: Repository["codecs"];
  readonly splitter: Repository["splitter"];
  readonly environment: Repository["environment"];
  readonly client: Repository["client"];
  readonly notes: SealedNotes | undefined;
  readonly #ownsExecutor: boolean;
  #disposed: Promise<void> | undefined;

  constructor(wired: Wired) {
    this.blobs = wired.blobs;
    this.format = wired.format;
    this.readOnly = wired.readOnly;
    this.contents = wired.contents;
    this.objects = wired.objects;
    this.manifests = wired.manifests;
    this.memory = wired.memory;
    this.openScratch = wired.openScratch;
    this.executor = wired.executor;
    this.codecs = wired.codecs;
    this.splitter = wired.splitter;
    this.environment = wired.environment;
    this.client = wired.client;
    this.notes = wired.notes;
    this.#ownsExecutor = wired.ownsExecutor;
  }

  get damage(): readonly RepositoryDamage[] {
    const { blobConfigDamage } = this.format;
    const damage = (kind: RepositoryDamage["kind"], { id, error }: DamagedBlob) => ({
      kind,
      name: id,
      code: error.code,
      message: error.message,
    });
    return [
      ...(blobConfigDamage === undefined
        ? []
        : [damage("blob-config", { id: BLOB_CONFIG, error: blobConfigDamage })]),
      ...this.contents.damagedIndexBlobs.map((blob) => damage("index", blob)),
      ...this.manifests.damaged.map(({ contentId, reason }) => ({
        kind: "manifests" as const,
        name: contentId,
        code: "corrupt" as const,
        message: reason,
      })),
    ];
  }

  async refresh(options?: CallOptions): Promise<void> {
    await this.contents.refresh(options);
    await this.manifests.refresh(options);
  }

  async flush(options?: CallOptions): Promise<void> {
    await this.manifests.flush(options);
    await this.contents.flush(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    await this.#disposed;
  }

  async #dispose(): Promise<void> {
    try {
      await this.contents.close();
    } finally {
      if (this.#ownsExecutor) {
        await this.executor[Symbol.asyncDispose]();
      }
    }
  }
}

function warnOfFeatures(format: RepositoryFormat, environment: Environment): void {
  for (const { feature, message } of format.requiredFeatures.filter(({ warnOnly }) => warnOnly)) {
    const text = `the repository asks for feature ${feature}: ${message}`;
    environment.log({ level: "warning", message: text });
  }
}

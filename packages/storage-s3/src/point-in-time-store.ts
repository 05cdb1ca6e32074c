import { GetBucketVersioningCommand, ListObjectVersionsCommand } from "@aws-sdk/client-s3";
import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type CallOptions,
  type GetOptions,
  type StoreFeature,
  VarveError,
} from "@varve/core/blob";
import { decodeName, type ListedObject, type S3Bucket } from "./bucket.ts";

/**
 * A bucket that keeps versions, as it was at a point in time: of each blob the newest version that is not younger,
 * unless that is a delete marker. What was deleted or replaced since, by whomever, is still there to be restored.
 */

interface Version {
  readonly info: BlobInfo;
  readonly versionId: string | undefined;
}

/** A listed version or delete marker of one object. */
interface Listed extends ListedObject {
  readonly VersionId?: string | undefined;
  readonly IsLatest?: boolean | undefined;
  readonly isDeleted: boolean;
}

// The past does not change, so versions that were looked up stay; so many, in about 20 MB.
const MAX_KNOWN = 100_000;

export class S3PointInTimeStore implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature> = new Set();
  readonly #bucket: S3Bucket;
  readonly #timeMs: number;
  readonly #known = new Map<BlobId, Version>();

  constructor(bucket: S3Bucket, { pointInTimeMs }: { readonly pointInTimeMs: number }) {
    this.label = `${bucket.label} at ${new Date(pointInTimeMs).toISOString()}`;
    this.#bucket = bucket;
    this.#timeMs = pointInTimeMs;
  }

  async get(id: BlobId, options: GetOptions = {}): Promise<Uint8Array> {
    const { versionId } = await this.#find(id, `get ${id}`, options);
    return await this.#bucket.get(id, { ...options, versionId });
  }

  async stat(id: BlobId, options: CallOptions = {}): Promise<BlobInfo> {
    return (await this.#find(id, `stat ${id}`, options)).info;
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncGenerator<BlobInfo> {
    for await (const version of this.#versions(prefix, options)) {
      yield version.info;
    }
  }

  async #find(id: BlobId, what: string, options: CallOptions): Promise<Version> {
    options.signal?.throwIfAborted();
    const known = this.#known.get(id);
    if (known !== undefined) {
      return known;
    }
    // Names are listed in order, and no name with this prefix comes before the name itself.
    for await (const version of this.#versions(id, { ...options, onlyFirst: true })) {
      if (version.info.id === id) {
        return version;
      }
    }
    throw new VarveError("blob-not-found", `${what}: there was no such blob`);
  }

  /** Of every blob with the prefix, the version that was there; of the first name alone when asked to. */
  async *#versions(
    prefix: string,
    options: CallOptions & { readonly onlyFirst?: boolean },
  ): AsyncGenerator<Version> {
    let key: string | undefined;
    let versions: Listed[] = [];
    for await (const listed of this.#listed(prefix, options)) {
      if (listed.Key !== key && key !== undefined) {
        yield* this.#then(versions);
        versions = [];
        if (options.onlyFirst === true) {
          return;
        }
      }
      key = listed.Key;
      versions.push(listed);
    }
    yield* this.#then(versions);
  }

  *#then(versions: readonly Listed[]): Generator<Version> {
    const then = newestAt(versions, this.#timeMs);
    const info = then === undefined ? undefined : this.#bucket.info(then);
    if (then === undefined || info === undefined) {
      return;
    }
    const version = { info, versionId: then.VersionId };
    if (this.#known.size >= MAX_KNOWN) {
      this.#known.clear();
    }
    this.#known.set(info.id, version);
    yield version;
  }

  /** Every version and delete marker below the prefix, those of one name together. */
  async *#listed(prefix: string, { signal }: CallOptions): AsyncGenerator<Listed> {
    const bucket = this.#bucket;
    const attempt = { what: `list ${JSON.stringify(prefix)}`, needs: "s3:ListBucketVersions" };
    let next: { KeyMarker?: string; VersionIdMarker?: string } | undefined = {};
    while (next !== undefined) {
      const command: ListObjectVersionsCommand = new ListObjectVersionsCommand({
        Bucket: bucket.name,
        Prefix: bucket.prefix + prefix,
        EncodingType: "url",
        ...next,
      });
      const page = await bucket.run(attempt, signal, (abortSignal) =>
        bucket.client.send(command, { abortSignal }),
      );
      const decode = (name: string | undefined): string => decodeName(name, page.EncodingType);
      const listed: Listed[] = [
        ...(page.Versions ?? []).map((each) => ({ ...each, isDeleted: false })),
        ...(page.DeleteMarkers ?? []).map((each) => ({ ...each, isDeleted: true })),
      ];
      // The answer has them mixed, the SDK does not; sorting keeps the order of each kind.
      yield* listed
        .map((each) => ({ ...each, Key: decode(each.Key) }))
        .sort((a, b) => (a.Key < b.Key ? -1 : a.Key > b.Key ? 1 : 0));
      const marker: string = decode(page.NextKeyMarker);
      if (page.IsTruncated === true && marker === "") {
        throw new VarveError(
          "storage-failed",
          `${attempt.what}: more is said to follow, but not where`,
        );
      }
      const version = page.NextVersionIdMarker;
      next =
        page.IsTruncated === true
          ? { KeyMarker: marker, ...(version ? { VersionIdMarker: version } : {}) }
          : undefined;
    }
  }

  async put(): Promise<never> {
    throw this.#readOnly();
  }

  async delete(): Promise<never> {
    throw this.#readOnly();
  }

  async extendRetention(): Promise<never> {
    throw this.#readOnly();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bucket.close();
  }

  #readOnly(): VarveError {
    return new VarveError("read-only", `${this.label}: the past does not change`);
  }
}

/** Throws `unsupported` for a bucket that keeps no versions. */
export async function requireVersions(bucket: S3Bucket, { signal }: CallOptions): Promise<void> {
  const what = `open ${bucket.label} at a point in time`;
  const { Status } = await bucket.run(
    { what, needs: "s3:GetBucketVersioning" },
    signal,
    (abortSignal) =>
      bucket.client.send(new GetBucketVersioningCommand({ Bucket: bucket.name }), { abortSignal }),
  );
  if (Status !== "Enabled") {
    throw new VarveError("unsupported", `${what}: the bucket keeps no versions`);
  }
}

/** The newest of one object's versions that is not younger; `undefined` when that is a delete marker, or there is none. */
function newestAt(versions: readonly Listed[], timeMs: number): Listed | undefined {
  const age = (each: Listed): number => each.LastModified?.getTime() ?? 0;
  const [newest] = versions
    .filter((each) => age(each) <= timeMs)
    // Storage tells whole seconds. Of two in one, a version rather than a marker: rather too much than too little.
    .sort(
      (a, b) =>
        age(b) - age(a) ||
        Number(b.IsLatest ?? false) - Number(a.IsLatest ?? false) ||
        Number(a.isDeleted) - Number(b.isDeleted),
    );
  return newest?.isDeleted === true ? undefined : newest;
}

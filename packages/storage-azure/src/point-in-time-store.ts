import type { BlobItem } from "@azure/storage-blob";
import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type CallOptions,
  type GetOptions,
  parseBlobId,
  resolveRange,
  VarveError,
} from "@varve/core/blob";
import { type AzureContainer, download } from "./container.ts";

/**
 * A container that keeps versions, as it was at one time: of every blob the newest version that is not younger, unless
 * the blob was deleted then. A read asks for the versions of its blob first, so that nothing has to be kept in memory.
 */

const REPOSITORY_BLOB = parseBlobId("kopia.repository");

export interface PointInTimeOptions {
  readonly pointInTimeMs: number;
  readonly signal: AbortSignal | undefined;
}

/** To be wrapped in `readOnlyStore`. Throws `unsupported` for a container without versions. */
export async function openPointInTimeStore(
  container: AzureContainer,
  { pointInTimeMs, signal }: PointInTimeOptions,
): Promise<BlobStore> {
  const names = container.nameOf(REPOSITORY_BLOB);
  const what = `open ${container.label}`;
  for await (const { name, versionId } of container.items(names, {
    what,
    versions: true,
    signal,
  })) {
    if (name === names && versionId === undefined) {
      throw new VarveError(
        "unsupported",
        `${what}: a point in time needs a container with versions`,
      );
    }
  }
  return new PointInTimeStore(container, pointInTimeMs);
}

class PointInTimeStore implements BlobStore {
  readonly label: string;
  readonly features: BlobStore["features"] = new Set();
  readonly #container: AzureContainer;
  readonly #pointInTimeMs: number;

  constructor(container: AzureContainer, pointInTimeMs: number) {
    this.label = `${container.label} at ${new Date(pointInTimeMs).toISOString()}`;
    this.#container = container;
    this.#pointInTimeMs = pointInTimeMs;
  }

  async get(id: BlobId, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    const what = `get ${id}`;
    const { info, versionId } = await this.#versionOf(id, what, signal);
    const { offset, length } = resolveRange(id, info.size, range);
    if (length === 0) {
      return new Uint8Array(0);
    }
    const blob = this.#container.blob(id);
    return await this.#container.run({ what, needs: "read" }, signal, (watch) =>
      download(blob.withVersion(versionId), { range: { offset, length }, into, watch }),
    );
  }

  async stat(id: BlobId, { signal }: CallOptions = {}): Promise<BlobInfo> {
    return (await this.#versionOf(id, `stat ${id}`, signal)).info;
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncGenerator<BlobInfo> {
    const what = `list ${JSON.stringify(prefix)}`;
    const names = this.#container.prefix + prefix;
    let versions: BlobItem[] = [];
    for await (const item of this.#container.items(names, { what, versions: true, signal })) {
      // The versions of one blob follow one another.
      if (versions[0] !== undefined && versions[0].name !== item.name) {
        yield* this.#infoOf(versions);
        versions = [];
      }
      versions.push(item);
    }
    yield* this.#infoOf(versions);
  }

  put(): Promise<never> {
    return this.#refuse();
  }

  delete(): Promise<never> {
    return this.#refuse();
  }

  extendRetention(): Promise<never> {
    return this.#refuse();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #refuse(): Promise<never> {
    throw new VarveError("read-only", `${this.label} is the past`);
  }

  *#infoOf(versions: readonly BlobItem[]): Generator<BlobInfo> {
    const version = versionAt(versions, this.#pointInTimeMs);
    const info = version === undefined ? undefined : this.#container.info(version);
    if (info !== undefined) {
      yield info;
    }
  }

  async #versionOf(
    id: BlobId,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<{ info: BlobInfo; versionId: string }> {
    const name = this.#container.nameOf(id);
    const versions: BlobItem[] = [];
    for await (const item of this.#container.items(name, { what, versions: true, signal })) {
      if (item.name !== name) {
        break; // ids that this one is the start of
      }
      versions.push(item);
    }
    const version = versionAt(versions, this.#pointInTimeMs);
    const info = version === undefined ? undefined : this.#container.info(version);
    if (info === undefined || version?.versionId === undefined) {
      throw new VarveError("blob-not-found", `${what}: ${this.label} has no such blob`);
    }
    return { info, versionId: version.versionId };
  }
}

/** The version of a blob that was the current one at `timeMs`; `undefined` when there was none, or it was deleted. */
export function versionAt(versions: readonly BlobItem[], timeMs: number): BlobItem | undefined {
  let newest: BlobItem | undefined;
  for (const version of versions) {
    // Ids are times of one length, so that they compare as text.
    const isNewer = newest === undefined || (version.versionId ?? "") > (newest.versionId ?? "");
    if (writtenMs(version) <= timeMs && isNewer) {
      newest = version;
    }
  }
  return newest?.hasVersionsOnly === true ? undefined : newest;
}

/** When a version, or the mark of a deletion, came to be; the service's own time, not one that a writer has set. */
function writtenMs({ versionId, properties, hasVersionsOnly }: BlobItem): number {
  const fromId = Date.parse(versionId ?? "");
  const modifiedMs = properties.lastModified.getTime();
  if (Number.isNaN(fromId)) {
    return modifiedMs;
  }
  // A mark has the time of the version that was deleted, and an id of its own.
  return hasVersionsOnly === true ? Math.max(fromId, modifiedMs) : fromId;
}

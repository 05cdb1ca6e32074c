import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  resolveRange,
  VarveError,
} from "@varve/core/blob";
import type { Bucket, Call } from "./bucket.ts";
import { blobIdOf, blobInfo, type ObjectInfo } from "./object-json.ts";

/** A bucket as it was at some time: of every name the newest generation of then, unless it was deleted by then. */

export interface PointInTimeOptions {
  readonly prefix: string;
  readonly pointInTimeMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Throws `unsupported` when the bucket keeps no versions. */
export async function openPointInTimeStore(
  bucket: Bucket,
  { prefix, pointInTimeMs, signal }: PointInTimeOptions,
): Promise<BlobStore> {
  const label = `gs://${bucket.name}/${prefix}`;
  if (!(await bucket.keepsVersions({ what: `open ${label} at a point in time`, signal }))) {
    throw new VarveError(
      "unsupported",
      `${label}: the bucket keeps no versions, so no past either`,
    );
  }

  const find = async (id: BlobId, call: Call): Promise<ObjectInfo> => {
    const name = prefix + id;
    for await (const object of liveAt(
      bucket.list(name, { ...call, versions: true }),
      pointInTimeMs,
    )) {
      if (object.name === name) {
        return object;
      }
      break; // the name itself comes before those that it begins
    }
    throw new VarveError("blob-not-found", `${call.what}: it was not there at that time`);
  };

  const refuse = async (): Promise<never> => {
    throw new VarveError("read-only", `${label} is shown as it was`);
  };

  return {
    label,
    features: new Set(),
    async get(id, { range, into, signal } = {}) {
      const call = { what: `get ${id}`, signal };
      const { size, generation } = await find(id, call);
      const { offset, length } = resolveRange(id, size, range);
      return length === 0
        ? new Uint8Array(0)
        : await bucket.download(prefix + id, {
            ...call,
            generation,
            into,
            range: range && { offset, length },
          });
    },
    async stat(id, { signal } = {}) {
      return blobInfo(id, await find(id, { what: `stat ${id}`, signal }));
    },
    async *list(idPrefix, { signal } = {}): AsyncGenerator<BlobInfo> {
      const listing = { what: `list ${JSON.stringify(idPrefix)}`, versions: true, signal };
      for await (const object of liveAt(bucket.list(prefix + idPrefix, listing), pointInTimeMs)) {
        const id = blobIdOf(object.name, prefix);
        if (id !== undefined) {
          yield blobInfo(id, object);
        }
      }
    },
    put: refuse,
    delete: refuse,
    extendRetention: refuse,
    async [Symbol.asyncDispose]() {
      bucket[Symbol.dispose]();
    },
  };
}

/** Of generations that come name by name, those that a reader saw at `timeMs`. */
async function* liveAt(
  generations: AsyncIterable<ObjectInfo>,
  timeMs: number,
): AsyncGenerator<ObjectInfo> {
  let newest: ObjectInfo | undefined;
  for await (const object of generations) {
    if (object.createdMs > timeMs) {
      continue;
    }
    if (newest !== undefined && newest.name !== object.name && !isDeletedAt(newest, timeMs)) {
      yield newest;
    }
    const isOlder = newest?.name === object.name && newest.createdMs > object.createdMs;
    newest = isOlder ? newest : object;
  }
  if (newest !== undefined && !isDeletedAt(newest, timeMs)) {
    yield newest;
  }
}

/** What is replaced counts as deleted too, but then a newer generation stands for the name. */
function isDeletedAt({ deletedMs }: ObjectInfo, timeMs: number): boolean {
  return deletedMs !== undefined && deletedMs < timeMs;
}

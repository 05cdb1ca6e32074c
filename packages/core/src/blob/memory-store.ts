import { concatBytes } from "../base/bytes.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { resolveRange } from "./range.ts";
import type { BlobId, BlobInfo, BlobStore, Retention } from "./store.ts";

interface StoredBlob {
  readonly info: BlobInfo;
  readonly bytes: Uint8Array;
  readonly retention: Retention | undefined;
}

/**
 * A store that lives as long as this value: for tests, and for building a repository that is then copied elsewhere.
 * Has every feature; a blob under retention is neither deleted nor replaced (`access-denied`) before its time is over.
 */
export function createMemoryStore(
  options: { readonly label?: string; readonly environment?: Environment } = {},
): BlobStore {
  const { label = "memory", environment = systemEnvironment() } = options;
  const blobs = new Map<BlobId, StoredBlob>();

  const find = (id: BlobId): StoredBlob => {
    const blob = blobs.get(id);
    if (blob === undefined) {
      throw new VarveError("blob-not-found", `blob ${id} is not in ${label}`);
    }
    return blob;
  };
  const refuseLocked = (id: BlobId): void => {
    const untilMs = blobs.get(id)?.retention?.untilMs ?? 0;
    if (untilMs > environment.nowMs()) {
      throw new VarveError("access-denied", `blob ${id} is locked until ${untilMs}`);
    }
  };

  return {
    label,
    features: new Set(["put-if-absent", "set-mtime", "object-lock"] as const),

    async get(id, { range, signal } = {}) {
      signal?.throwIfAborted();
      const { bytes } = find(id);
      const { offset, length } = resolveRange(id, bytes.length, range);
      return bytes.slice(offset, offset + length);
    },

    async put(id, parts, { ifAbsent = false, mtimeMs, retention, signal } = {}) {
      signal?.throwIfAborted();
      if (ifAbsent && blobs.has(id)) {
        throw new VarveError("blob-exists", `put ${id}: it is there already`);
      }
      refuseLocked(id);
      const bytes = concatBytes(parts);
      const info = { id, size: bytes.length, mtimeMs: mtimeMs ?? environment.nowMs() };
      blobs.set(id, { info, bytes, retention });
      return info;
    },

    async stat(id, { signal } = {}) {
      signal?.throwIfAborted();
      return find(id).info;
    },

    async *list(prefix, { signal } = {}) {
      for (const id of [...blobs.keys()].filter((id) => id.startsWith(prefix))) {
        signal?.throwIfAborted();
        const blob = blobs.get(id);
        if (blob !== undefined) {
          yield blob.info;
        }
      }
    },

    async delete(id, { signal } = {}) {
      signal?.throwIfAborted();
      refuseLocked(id);
      blobs.delete(id);
    },

    async extendRetention(id, retention, { signal } = {}) {
      signal?.throwIfAborted();
      const blob = find(id);
      if (retention.untilMs > (blob.retention?.untilMs ?? 0)) {
        blobs.set(id, { ...blob, retention });
      }
    },

    async [Symbol.asyncDispose]() {},
  };
}

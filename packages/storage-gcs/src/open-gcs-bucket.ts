import {
  type Bucket,
  checkFolder,
  inParts,
  readOnlyStore,
  splitName,
  VarveError,
} from "@varve/core/blob";
import type { GcsBucketOptions } from "./options.ts";
import { signedUrl } from "./signed-url.ts";
import { connect, GcsStore } from "./store.ts";

// Of which the service wants multiples of 256 KiB.
const PART_BYTES = 16_777_216;

/**
 * Opens a bucket of several stores. Makes no request: whether the bucket is there shows with the first call. Object
 * lock is offered only when asked for. Throws `invalid-argument`.
 */
export async function openGcsBucket(options: GcsBucketOptions): Promise<Bucket> {
  const { bucket, endpoint, authorizer, environment } = await connect(options);
  const { objectLock = false, storageClasses, readOnly = false } = options;
  return {
    label: `gs://${bucket.name}/`,
    store(prefix) {
      const settings = { prefix: checkFolder(prefix), objectLock, storageClasses };
      const store = new GcsStore(bucket, { ...settings, connectionsAreShared: true });
      return readOnly ? readOnlyStore(store) : store;
    },
    async *folders(prefix, { signal } = {}) {
      checkFolder(prefix);
      const what = `list the folders of ${JSON.stringify(prefix)}`;
      for await (const folder of bucket.folders(prefix, { what, signal })) {
        if (folder.startsWith(prefix) && folder.length > prefix.length + 1) {
          yield folder.slice(prefix.length, -1);
        }
      }
    },
    async upload(name, chunks, { signal } = {}) {
      splitName(name);
      if (readOnly) {
        throw new VarveError("read-only", `upload ${name}: gs://${bucket.name}/ is read-only`);
      }
      await bucket.uploadParts(name, inParts(chunks, PART_BYTES), {
        what: `upload ${name}`,
        signal,
      });
    },
    async readUrl(object, { seconds, signal }) {
      signal?.throwIfAborted();
      const nowMs = environment.nowMs();
      const where = { endpoint, bucket: bucket.name, object };
      return await signedUrl({ ...where, seconds, nowMs, sign: (text) => authorizer.sign(text) });
    },
    async [Symbol.asyncDispose]() {
      bucket[Symbol.dispose]();
    },
  };
}

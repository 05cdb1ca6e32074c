import { type Bucket, checkFolder, readOnlyStore, splitName, VarveError } from "@varve/core/blob";
import type { AzureBucketOptions } from "./options.ts";
import { upload } from "./upload.ts";
import { AzureStore, openContainer } from "./store.ts";

/**
 * Opens a container of several stores. Makes no request: whether the container is there shows with the first call.
 * Object lock is offered only when asked for. Throws `invalid-argument`.
 */
export async function openAzureBucket(options: AzureBucketOptions): Promise<Bucket> {
  const container = await openContainer(options);
  const { objectLock = false, accessTiers, readOnly = false } = options;
  return {
    label: container.label,
    store(prefix) {
      const store = new AzureStore(container.at(checkFolder(prefix)), { objectLock, accessTiers });
      return readOnly ? readOnlyStore(store) : store;
    },
    async *folders(prefix, { signal } = {}) {
      checkFolder(prefix);
      const what = `list the folders of ${JSON.stringify(prefix)}`;
      for await (const folder of container.folders(prefix, { what, signal })) {
        if (folder.startsWith(prefix) && folder.length > prefix.length + 1) {
          yield folder.slice(prefix.length, -1);
        }
      }
    },
    async upload(name, chunks, { signal } = {}) {
      const { folder, id } = splitName(name);
      if (readOnly) {
        throw new VarveError("read-only", `upload ${name}: ${container.label} is read-only`);
      }
      await upload(container.at(folder), id, chunks, { accessTiers, signal });
    },
    async readUrl(name, { seconds, signal }) {
      return await container.readUrl(name, { seconds, signal });
    },
    async [Symbol.asyncDispose]() {},
  };
}

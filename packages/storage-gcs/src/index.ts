/** Blobs in a bucket of Google Cloud Storage. */
export type { GcsCredentials, GcsStoreOptions, StorageClassRule } from "./options.ts";
export { openGcsStore } from "./store.ts";

/** Blobs in a bucket of Google Cloud Storage. */
export { openGcsBucket } from "./open-gcs-bucket.ts";
export type {
  GcsBucketOptions,
  GcsCredentials,
  GcsStoreOptions,
  StorageClassRule,
} from "./options.ts";
export { openGcsStore } from "./store.ts";

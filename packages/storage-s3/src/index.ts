/** Blob store on Amazon S3 and compatible services. */
export { openS3Bucket } from "./open-s3-bucket.ts";
export { openS3Store } from "./open-s3-store.ts";
export type {
  S3AssumedRole,
  S3BucketOptions,
  S3CredentialChain,
  S3Credentials,
  S3Encryption,
  S3Keys,
  S3StoreOptions,
  S3Timeouts,
  S3TlsOptions,
  S3WebIdentity,
  StorageClassRule,
} from "./options.ts";

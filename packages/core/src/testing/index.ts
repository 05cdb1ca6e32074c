/** The entry `@varve/core/testing`: what it takes to test a blob store, or a program that uses one. */
export type { BlobStoreCase, BlobStoreCasesOptions } from "./blob-store-cases.ts";
export { blobStoreCases } from "./blob-store-cases.ts";
export type { BucketCasesOptions } from "./bucket-cases.ts";
export { bucketCases } from "./bucket-cases.ts";
export type {
  FaultPlan,
  FaultyStore,
  ReadFault,
  StorageWrite,
  WriteFault,
} from "./faulty-store.ts";
export { faultyStore } from "./faulty-store.ts";
export type { ProviderCasesOptions } from "./provider-cases.ts";
export { providerCases } from "./provider-cases.ts";
export type { SeededEnvironment } from "./seeded-environment.ts";
export { seededEnvironment } from "./seeded-environment.ts";

/** Blob store on Azure Blob Storage, laid out as Kopia's azure provider does. */
export type {
  AccessTierRule,
  AzureBucketOptions,
  AzureCredentials,
  AzureStoreOptions,
  ServicePrincipal,
  TokenSource,
} from "./options.ts";
export { openAzureBucket } from "./open-azure-bucket.ts";
export { openAzureStore } from "./store.ts";

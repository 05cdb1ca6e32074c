/** Blob store on Azure Blob Storage, laid out as Kopia's azure provider does. */
export type {
  AccessTierRule,
  AzureCredentials,
  AzureStoreOptions,
  ServicePrincipal,
  TokenSource,
} from "./options.ts";
export { openAzureStore } from "./store.ts";

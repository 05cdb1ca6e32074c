import type { CallOptions, Environment } from "@varve/core/blob";
import { VarveError } from "@varve/core/blob";

/** What it takes to reach a container: where it is, who asks, and how blobs are written to it. */

export interface AzureStoreOptions extends CallOptions {
  readonly container: string;
  /** Not needed with a connection string, nor where an `endpoint` names it. */
  readonly storageAccount?: string | undefined;
  readonly credentials: AzureCredentials;
  /** Put before every blob id as it stands, so a folder ends in `/`. */
  readonly prefix?: string | undefined;
  /** Where accounts are hosts: default `blob.core.windows.net`; another one for sovereign clouds. */
  readonly storageDomain?: string | undefined;
  /** The URL of the account's blob service, instead of `storageDomain`: for emulators and private links. */
  readonly endpoint?: string | undefined;
  /** Certificate authorities to trust instead of the system's, PEM. */
  readonly certificateAuthority?: string | undefined;
  /** Show the container, read-only, as it was at this time; it must keep versions. */
  readonly pointInTimeMs?: number | undefined;
  /** Write nothing: `put`, `delete` and `extendRetention` throw `read-only`. */
  readonly readOnly?: boolean | undefined;
  /** Whether to offer `object-lock`, default true. It needs a container with version-level immutability. */
  readonly objectLock?: boolean | undefined;
  /** Access tier of new blobs: that of the first entry whose `prefix` their id starts with; else the account's default. */
  readonly accessTiers?: readonly AccessTierRule[] | undefined;
  /** A request that moves less than 4 KiB a second over this long has failed; default 60 000. */
  readonly idleTimeoutMs?: number | undefined;
  /** The clock of timeouts; the system's by default. */
  readonly environment?: Environment | undefined;
}

/** A container as a whole. */
export type AzureBucketOptions = Omit<AzureStoreOptions, "prefix" | "pointInTimeMs">;

/** Archived blobs cannot be read before they are rehydrated, so there is no archive tier. */
export interface AccessTierRule {
  readonly prefix: string;
  readonly tier: "Hot" | "Cool" | "Cold" | "Premium";
}

export type AzureCredentials =
  /** The key of the storage account, base64. */
  | { readonly kind: "account-key"; readonly accountKey: string }
  /** A shared access signature of the account or the container, with or without the leading `?`. */
  | { readonly kind: "sas"; readonly sasToken: string }
  /** As the portal shows it: an account key or a SAS, and where the account is. */
  | { readonly kind: "connection-string"; readonly connectionString: string }
  /** A service principal with a secret. */
  | (ServicePrincipal & { readonly kind: "client-secret"; readonly clientSecret: string })
  /** A service principal with a certificate: PEM text with its private key. */
  | (ServicePrincipal & { readonly kind: "client-certificate"; readonly certificate: string })
  /** The identity of the machine; with `clientId`, the one of several that was assigned by the user. */
  | { readonly kind: "managed-identity"; readonly clientId?: string | undefined }
  /** A token that the platform, such as Kubernetes, keeps in a file; it is read again as it changes. */
  | (ServicePrincipal & { readonly kind: "workload-identity"; readonly tokenFile: string })
  /** What `DefaultAzureCredential` of `@azure/identity` finds in the environment. */
  | { readonly kind: "default" }
  /** Tokens from the caller: any `TokenCredential` of the Azure SDK. */
  | { readonly kind: "token"; readonly tokenCredential: TokenSource };

export interface ServicePrincipal {
  readonly tenantId: string;
  readonly clientId: string;
  /** Of the directory service; by default that of the cloud that `storageDomain` lies in. */
  readonly authorityHost?: string | undefined;
}

/** The part of the SDK's `TokenCredential` that is used. */
export interface TokenSource {
  getToken(
    scopes: string | string[],
    options?: object,
  ): Promise<{ token: string; expiresOnTimestamp: number } | null>;
}

const DEFAULT_DOMAIN = "blob.core.windows.net";

/** URL of the blob service, without a query. Throws `invalid-argument`. */
export function serviceUrl(options: AzureStoreOptions): string {
  const { endpoint, storageAccount = "", storageDomain = DEFAULT_DOMAIN } = options;
  if (endpoint !== undefined) {
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== "") {
      throw new VarveError("invalid-argument", "the endpoint is not an http or https URL");
    }
    return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
  }
  // Both become a host name, to which the credentials are sent.
  if (!/^[A-Za-z0-9-]+$/.test(storageAccount)) {
    const what = storageAccount === "" ? "no storage account" : "not a storage account";
    throw new VarveError("invalid-argument", `${what}: ${JSON.stringify(storageAccount)}`);
  }
  if (!/^[A-Za-z0-9.-]+(?::\d{1,5})?$/.test(storageDomain)) {
    throw new VarveError("invalid-argument", `not a domain: ${JSON.stringify(storageDomain)}`);
  }
  return `https://${storageAccount}.${storageDomain}`;
}

/** The account's name for messages and for the shared key: given, or the last part of the endpoint. */
export function accountName({ storageAccount, endpoint }: AzureStoreOptions): string {
  if (storageAccount !== undefined || endpoint === undefined) {
    return storageAccount ?? "";
  }
  const { hostname, pathname } = new URL(endpoint);
  return pathname.split("/").find((part) => part !== "") ?? hostname.split(".")[0] ?? "";
}

/** The directory service of the cloud that `storageDomain` lies in; `undefined` for the public one. */
export function authorityHost(storageDomain: string | undefined): string | undefined {
  if (storageDomain?.endsWith(".usgovcloudapi.net") === true) {
    return "https://login.microsoftonline.us";
  }
  return storageDomain?.endsWith(".chinacloudapi.cn") === true
    ? "https://login.chinacloudapi.cn"
    : undefined;
}

/** The tier that new blob `id` gets. */
export function tierOf(
  id: string,
  rules: readonly AccessTierRule[] | undefined,
): AccessTierRule["tier"] | undefined {
  return rules?.find(({ prefix }) => id.startsWith(prefix))?.tier;
}

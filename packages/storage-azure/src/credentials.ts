import type * as Identity from "@azure/identity";
import {
  AnonymousCredential,
  BlobServiceClient,
  newPipeline,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { VarveError } from "@varve/core/blob";
import {
  type AzureCredentials,
  type AzureStoreOptions,
  accountName,
  authorityHost,
  serviceUrl,
  type TokenSource,
} from "./options.ts";

/**
 * From credentials to a client of the SDK. The SDK tries every request once: when to try again is decided in one place,
 * core's `retryStore`. `@azure/identity` is loaded only for credentials that need it.
 */

export interface AzureService {
  readonly client: BlobServiceClient;
  /** Strings that must not be seen in any message. */
  readonly secrets: readonly string[];
  /** When the SAS token ends, if there is one that says so. */
  readonly sasExpiryMs: number | undefined;
}

/** Makes no request. Throws `invalid-argument`. */
export async function connectService(options: AzureStoreOptions): Promise<AzureService> {
  const { credentials, certificateAuthority } = options;
  const settings = {
    retryOptions: { maxTries: 1 },
    userAgentOptions: { userAgentPrefix: "varve" },
    ...(certificateAuthority === undefined ? {} : { tlsOptions: { ca: certificateAuthority } }),
  };
  switch (credentials.kind) {
    case "connection-string":
      return fromConnectionString(credentials.connectionString, settings);
    case "sas": {
      const sas = credentials.sasToken.replace(/^\?/, "");
      const pipeline = newPipeline(new AnonymousCredential(), settings);
      const client = new BlobServiceClient(`${serviceUrl(options)}?${sas}`, pipeline);
      return { client, ...sasFacts(sas) };
    }
    case "account-key": {
      const { accountKey } = credentials;
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(accountKey)) {
        throw new VarveError("invalid-argument", "the account key is not base64");
      }
      const url = serviceUrl(options);
      const key = new StorageSharedKeyCredential(accountName(options), accountKey);
      const client = new BlobServiceClient(url, newPipeline(key, settings));
      return { client, secrets: [accountKey], sasExpiryMs: undefined };
    }
    default: {
      const url = serviceUrl(options);
      const token = await tokenCredential(credentials, options);
      const client = new BlobServiceClient(url, newPipeline(token, settings));
      return { client, secrets: secretsOf(credentials), sasExpiryMs: undefined };
    }
  }
}

function fromConnectionString(text: string, settings: object): AzureService {
  const field = (name: string): string | undefined =>
    new RegExp(`(?:^|;)\\s*${name}=([^;]*)`, "i").exec(text)?.[1];
  const { secrets, sasExpiryMs } = sasFacts(field("SharedAccessSignature")?.replace(/^\?/, ""));
  try {
    const client = BlobServiceClient.fromConnectionString(text, settings);
    return { client, secrets: [...secrets, field("AccountKey") ?? ""], sasExpiryMs };
  } catch {
    // What the SDK says may quote the text.
    throw new VarveError("invalid-argument", "the connection string cannot be understood");
  }
}

function sasFacts(sas = ""): Pick<AzureService, "secrets" | "sasExpiryMs"> {
  const query = new URLSearchParams(sas);
  const signature = query.get("sig") ?? "";
  const expiryMs = Date.parse(query.get("se") ?? "");
  return {
    secrets: [sas, signature, encodeURIComponent(signature)],
    sasExpiryMs: Number.isNaN(expiryMs) ? undefined : expiryMs,
  };
}

type TokenCredentials = Exclude<
  AzureCredentials,
  { kind: "connection-string" | "sas" | "account-key" }
>;

async function tokenCredential(
  credentials: TokenCredentials,
  { storageDomain, certificateAuthority }: AzureStoreOptions,
): Promise<TokenSource> {
  if (credentials.kind === "token") {
    return credentials.tokenCredential;
  }
  const identity = await import("@azure/identity");
  const ownHost = "authorityHost" in credentials ? credentials.authorityHost : undefined;
  const host = ownHost ?? authorityHost(storageDomain);
  const settings = {
    ...(host === undefined ? {} : { authorityHost: host }),
    // An authority of the caller's own is not one that the public directory service knows.
    disableInstanceDiscovery: ownHost !== undefined,
    retryOptions: { maxRetries: 0 },
    ...(certificateAuthority === undefined ? {} : { tlsOptions: { ca: certificateAuthority } }),
  };
  try {
    return createCredential(identity, credentials, settings);
  } catch (error) {
    const why = `the ${credentials.kind} credentials are unusable`;
    throw new VarveError("invalid-argument", why, {
      cause: error instanceof Error ? error.name : undefined, // what it says may quote them
    });
  }
}

function createCredential(
  identity: typeof Identity,
  credentials: Exclude<TokenCredentials, { kind: "token" }>,
  settings: object,
): TokenSource {
  switch (credentials.kind) {
    case "client-secret": {
      const { tenantId, clientId, clientSecret } = credentials;
      return new identity.ClientSecretCredential(tenantId, clientId, clientSecret, settings);
    }
    case "client-certificate": {
      const { tenantId, clientId, certificate } = credentials;
      return new identity.ClientCertificateCredential(
        tenantId,
        clientId,
        { certificate },
        settings,
      );
    }
    case "managed-identity": {
      const { clientId } = credentials;
      return clientId === undefined
        ? new identity.ManagedIdentityCredential()
        : new identity.ManagedIdentityCredential({ clientId });
    }
    case "workload-identity": {
      const { tenantId, clientId, tokenFile: tokenFilePath } = credentials;
      const file = { tenantId, clientId, tokenFilePath };
      return new identity.WorkloadIdentityCredential({ ...settings, ...file });
    }
    default:
      return new identity.DefaultAzureCredential(settings);
  }
}

function secretsOf(credentials: TokenCredentials): readonly string[] {
  switch (credentials.kind) {
    case "client-secret":
      return [credentials.clientSecret];
    case "client-certificate":
      return [credentials.certificate];
    default:
      return [];
  }
}

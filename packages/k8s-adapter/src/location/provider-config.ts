import { VarveError } from "@varve/core";
import type { AzureBucketOptions } from "@varve/storage-azure";
import type { GcsBucketOptions } from "@varve/storage-gcs";
import type { S3BucketOptions, S3Credentials } from "@varve/storage-s3";
import { parseEnvironmentFile, parseProfiles } from "./credential-files.ts";

/**
 * From the `config` of a BackupStorageLocation (spec section 2.1) and the text of its credentials to what it takes to
 * open a bucket. Pure; every function throws `invalid-argument`, never with a secret in the message.
 */

export interface ProviderConfig {
  readonly bucket: string;
  readonly config: Readonly<Record<string, string>>;
  /** The content of the secret's key; without one, what the process finds around it. */
  readonly credentials: string | undefined;
  /** PEM. */
  readonly caCert: string | undefined;
}

const AWS_KEYS = new Set(
  `region s3Url publicUrl kmsKeyId customerKeyEncryptionFile customerKeyEncryptionSecret s3ForcePathStyle
  signatureVersion credentialsFile profile serverSideEncryption insecureSkipTLSVerify enableSharedConfig tagging
  checksumAlgorithm bucket prefix caCert`.split(/\s+/),
);
/** Known to Velero, and what we would have to do but do not. */
const AWS_REFUSED: Readonly<Record<string, string>> = {
  customerKeyEncryptionFile: "keys of the customer are not supported",
  customerKeyEncryptionSecret: "keys of the customer are not supported",
  credentialsFile: "name a secret in spec.credential instead",
  tagging: "tags of objects are not supported",
};

export function s3Options(provider: ProviderConfig): S3BucketOptions {
  const { bucket, config, credentials, caCert } = provider;
  for (const [key, value] of Object.entries(config)) {
    if (!AWS_KEYS.has(key)) {
      throw invalid(`config has unknown key ${JSON.stringify(key)}`);
    }
    const refused = value === "" ? undefined : AWS_REFUSED[key];
    if (refused !== undefined) {
      throw invalid(`config.${key}: ${refused}`);
    }
  }
  const { signatureVersion = "", serverSideEncryption = "", kmsKeyId = "" } = config;
  if (signatureVersion !== "" && signatureVersion !== "4") {
    throw invalid("config.signatureVersion: only version 4 is supported");
  }
  if (serverSideEncryption !== "" && !/^(?:AES256|aws:kms)$/.test(serverSideEncryption)) {
    throw invalid("config.serverSideEncryption: neither AES256 nor aws:kms");
  }
  const withKms = kmsKeyId !== "" || serverSideEncryption === "aws:kms";
  return {
    bucket,
    endpoint: given(config["s3Url"]),
    publicEndpoint: given(config["publicUrl"]),
    region: given(config["region"]),
    forcePathStyle: booleanOf(config, "s3ForcePathStyle"),
    tls: { verify: booleanOf(config, "insecureSkipTLSVerify") !== true, caPem: caCert },
    credentials: s3Credentials(credentials, given(config["profile"])),
    ...(withKms
      ? { serverSideEncryption: { algorithm: "aws:kms", keyId: given(kmsKeyId) } }
      : serverSideEncryption === ""
        ? {}
        : { serverSideEncryption: { algorithm: "AES256" } }),
  };
}

function s3Credentials(text: string | undefined, profile: string | undefined): S3Credentials {
  if (text === undefined) {
    return { kind: "chain", profile };
  }
  const name = profile ?? "default";
  const profiles = parseProfiles(text);
  const found = profiles.get(name);
  if (found === undefined) {
    throw invalid(`the credentials have no profile ${JSON.stringify(name)}`);
  }
  const roleArn = found.get("role_arn");
  if (roleArn === undefined) {
    return keysOf(found, name);
  }
  const sessionName = found.get("role_session_name");
  const tokenFile = found.get("web_identity_token_file");
  if (tokenFile !== undefined) {
    return { kind: "web-identity", roleArn, sessionName, tokenFile };
  }
  const source = found.get("source_profile") ?? name;
  const keys = profiles.get(source);
  if (keys === undefined) {
    throw invalid(`the credentials have no profile ${JSON.stringify(source)}`);
  }
  const externalId = found.get("external_id");
  return { kind: "assume-role", roleArn, sessionName, externalId, source: keysOf(keys, source) };
}

function keysOf(
  profile: ReadonlyMap<string, string>,
  name: string,
): Extract<S3Credentials, { kind: "keys" }> {
  const accessKeyId = profile.get("aws_access_key_id") ?? "";
  const secretAccessKey = profile.get("aws_secret_access_key") ?? "";
  if (accessKeyId === "" || secretAccessKey === "") {
    throw invalid(`profile ${JSON.stringify(name)} of the credentials has no keys`);
  }
  const sessionToken = profile.get("aws_session_token");
  return { kind: "keys", accessKeyId, secretAccessKey, sessionToken };
}

const AZURE_CLOUDS: Readonly<Record<string, string>> = {
  AZUREPUBLICCLOUD: "blob.core.windows.net",
  AZURECLOUD: "blob.core.windows.net",
  AZUREUSGOVERNMENTCLOUD: "blob.core.usgovcloudapi.net",
  AZURECHINACLOUD: "blob.core.chinacloudapi.cn",
};

export function azureOptions(provider: ProviderConfig): AzureBucketOptions {
  const { bucket: container, config, caCert } = provider;
  const env = parseEnvironmentFile(provider.credentials ?? "");
  const cloud = env.get("AZURE_CLOUD_NAME") ?? "AzurePublicCloud";
  const storageDomain = AZURE_CLOUDS[cloud.toUpperCase()];
  if (storageDomain === undefined) {
    throw invalid(`AZURE_CLOUD_NAME: unknown cloud ${JSON.stringify(cloud)}`);
  }
  return {
    container,
    storageAccount: given(config["storageAccount"]),
    endpoint: given(config["storageAccountURI"]),
    storageDomain,
    certificateAuthority: caCert,
    credentials: azureCredentials(env, config),
  };
}

function azureCredentials(
  env: ReadonlyMap<string, string>,
  config: Readonly<Record<string, string>>,
): AzureBucketOptions["credentials"] {
  const keyName = given(config["storageAccountKeyEnvVar"]);
  const accountKey = env.get(keyName ?? "AZURE_STORAGE_ACCOUNT_ACCESS_KEY");
  if (keyName !== undefined && accountKey === undefined) {
    throw invalid(`the credentials have no ${JSON.stringify(keyName)}`);
  }
  if (accountKey !== undefined && config["useAAD"] !== "true") {
    return { kind: "account-key", accountKey };
  }
  const tenantId = env.get("AZURE_TENANT_ID") ?? "";
  const clientId = env.get("AZURE_CLIENT_ID") ?? "";
  const authorityHost = given(config["activeDirectoryAuthorityURI"]);
  const clientSecret = env.get("AZURE_CLIENT_SECRET");
  if (clientSecret !== undefined) {
    return { kind: "client-secret", tenantId, clientId, clientSecret, authorityHost };
  }
  const certificate = env.get("AZURE_CLIENT_CERTIFICATE");
  if (certificate !== undefined) {
    return { kind: "client-certificate", tenantId, clientId, certificate, authorityHost };
  }
  return { kind: "default" };
}

export function gcsOptions(provider: ProviderConfig): GcsBucketOptions {
  const { bucket, config, credentials, caCert } = provider;
  return {
    bucket,
    endpoint: given(config["storeEndpoint"]),
    kmsKeyName: given(config["kmsKeyName"]),
    certificateAuthority: caCert,
    ...(credentials === undefined ? {} : { credentials: { kind: "json", json: credentials } }),
  };
}

function given(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function booleanOf(config: Readonly<Record<string, string>>, key: string): boolean | undefined {
  const text = given(config[key])?.toLowerCase();
  if (text === undefined) {
    return undefined;
  }
  if (!/^(?:true|false|1|0|t|f)$/.test(text)) {
    throw invalid(`config.${key}: neither true nor false`);
  }
  return text === "1" || text.startsWith("t");
}

function invalid(message: string): VarveError {
  return new VarveError("invalid-argument", message);
}

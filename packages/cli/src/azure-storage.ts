import { resolve } from "node:path";

import { VarveError } from "@varve/core/blob";
import type { AzureCredentials, AzureStoreOptions } from "@varve/storage-azure";
import { addPointInTime, optionOrVariable, pointInTimeMs, requiredText } from "./cloud-options.ts";
import { type StorageConfig, type StorageType, textOf } from "./storage-type.ts";

const DEFAULT_DOMAIN = "blob.core.windows.net";

export const AZURE: StorageType = {
  name: "azure",
  description: "a container of Azure Blob Storage",
  addOptions: (command) => {
    command
      .requiredOption("--container <name>", "the container; it must exist")
      .addOption(
        optionOrVariable("--storage-account <name>", "the account", "AZURE_STORAGE_ACCOUNT"),
      )
      .addOption(optionOrVariable("--storage-key <key>", "the account's key", "AZURE_STORAGE_KEY"))
      .addOption(
        optionOrVariable(
          "--storage-domain <domain>",
          "of the cloud (blob.core.windows.net)",
          "AZURE_STORAGE_DOMAIN",
        ),
      )
      .option("--endpoint <url>", "of an emulator or a private link, in place of the domain")
      .addOption(
        optionOrVariable(
          "--sas-token <token>",
          "a shared access signature",
          "AZURE_STORAGE_SAS_TOKEN",
        ),
      )
      .addOption(
        optionOrVariable(
          "--connection-string <text>",
          "account and key, or SAS, as the portal shows them",
          "AZURE_STORAGE_CONNECTION_STRING",
        ),
      )
      .option("--prefix <text>", "put before the names of all blobs; end a folder with /")
      .addOption(optionOrVariable("--tenant-id <id>", "of a service principal", "AZURE_TENANT_ID"))
      .addOption(optionOrVariable("--client-id <id>", "of a service principal", "AZURE_CLIENT_ID"))
      .addOption(
        optionOrVariable(
          "--client-secret <secret>",
          "of a service principal",
          "AZURE_CLIENT_SECRET",
        ),
      )
      .addOption(
        optionOrVariable(
          "--client-cert <pem>",
          "certificate and private key of a service principal",
          "AZURE_CLIENT_CERTIFICATE",
        ),
      )
      .addOption(
        optionOrVariable(
          "--azure-federated-token-file <path>",
          "a token that the platform keeps in a file",
          "AZURE_FEDERATED_TOKEN_FILE",
        ),
      );
    addPointInTime(command);
  },
  configOf: (options) => {
    const tokenFile = textOf(options, "azureFederatedTokenFile");
    const { container, prefix, endpoint, pointInTime, connectionString } = options;
    const { storageAccount, storageKey, storageDomain, sasToken } = options;
    const { tenantId, clientId, clientSecret, clientCert } = options;
    return {
      ...{ container, storageAccount, storageDomain, endpoint, prefix, pointInTime },
      ...{ storageKey, sasToken, connectionString },
      ...{ tenantID: tenantId, clientID: clientId, clientSecret, clientCertificate: clientCert },
      azureFederatedTokenFile: tokenFile && resolve(tokenFile),
    };
  },
  members: [
    ...["container", "storageAccount", "storageDomain", "endpoint", "prefix", "pointInTime"],
    ...["storageKey", "sasToken", "connectionString"],
    ...["tenantID", "clientID", "clientSecret", "clientCertificate", "azureFederatedTokenFile"],
  ],
  fromKopia: (config) => {
    const host = `${textOf(config, "storageAccount")}.${textOf(config, "storageDomain") ?? DEFAULT_DOMAIN}`;
    return config["doNotUseTLS"] === true ? { endpoint: `http://${host}` } : {};
  },
  describe: (config) => {
    const { container, prefix = "" } = config;
    return `azure ${textOf(config, "storageAccount") ?? ""}/${String(container)}/${String(prefix)}`;
  },
  secrets: {
    storageKey: "AZURE_STORAGE_KEY",
    sasToken: "AZURE_STORAGE_SAS_TOKEN",
    connectionString: "AZURE_STORAGE_CONNECTION_STRING",
    clientSecret: "AZURE_CLIENT_SECRET",
    clientCertificate: "AZURE_CLIENT_CERTIFICATE",
  },
  open: async (config, { environment, readOnly = false }) => {
    const { openAzureStore } = await import("@varve/storage-azure");
    const options: AzureStoreOptions = {
      container: requiredText(config, "container"),
      storageAccount: textOf(config, "storageAccount"),
      storageDomain: textOf(config, "storageDomain"),
      endpoint: textOf(config, "endpoint"),
      prefix: textOf(config, "prefix"),
      pointInTimeMs: pointInTimeMs(config),
      credentials: credentialsOf(config),
      environment,
      readOnly,
    };
    return await openAzureStore(options);
  },
};

/** The first that is there, in Kopia's order (spec §6.6); with none, what the platform offers. */
function credentialsOf(config: StorageConfig): AzureCredentials {
  const text = (name: string): string | undefined => textOf(config, name);
  const connectionString = text("connectionString");
  if (connectionString !== undefined) {
    return { kind: "connection-string", connectionString };
  }
  const sasToken = text("sasToken");
  if (sasToken !== undefined) {
    return { kind: "sas", sasToken };
  }
  const accountKey = text("storageKey");
  if (accountKey !== undefined) {
    return { kind: "account-key", accountKey };
  }
  const clientSecret = text("clientSecret");
  if (clientSecret !== undefined) {
    return { kind: "client-secret", clientSecret, ...principalOf(config) };
  }
  const certificate = text("clientCertificate");
  if (certificate !== undefined) {
    return { kind: "client-certificate", certificate, ...principalOf(config) };
  }
  const tokenFile = text("azureFederatedTokenFile");
  if (tokenFile !== undefined) {
    return { kind: "workload-identity", tokenFile, ...principalOf(config) };
  }
  return { kind: "default" };
}

function principalOf(config: StorageConfig): { tenantId: string; clientId: string } {
  const tenantId = textOf(config, "tenantID");
  const clientId = textOf(config, "clientID");
  if (tenantId === undefined || clientId === undefined) {
    throw new VarveError(
      "invalid-argument",
      "a service principal needs --tenant-id and --client-id",
    );
  }
  return { tenantId, clientId };
}

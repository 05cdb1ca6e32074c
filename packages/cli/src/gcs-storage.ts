import { resolve } from "node:path";
import { VarveError } from "@varve/core/blob";
import type { GcsStoreOptions } from "@varve/storage-gcs";
import { addPointInTime, pointInTimeMs, readTextFile, requiredText } from "./cloud-options.ts";
import { addSwitch } from "./options.ts";
import { type StorageConfig, type StorageType, textOf } from "./storage-type.ts";

export const GCS: StorageType = {
  name: "gcs",
  description: "a bucket of Google Cloud Storage",
  addOptions: (command) => {
    command
      .requiredOption("--bucket <name>", "the bucket; it must exist")
      .option("--prefix <text>", "put before the names of all blobs; end a folder with /")
      .option("--endpoint <url>", "of an emulator or a private endpoint")
      .option("--credentials-file <path>", "JSON key of a service account");
    addSwitch(command, "embed-credentials", {
      on: false,
      help: "keep what is in the credentials file beside the connection",
    });
    addSwitch(command, "read-only", { on: false, help: "ask Google for a read-only scope" });
    addPointInTime(command);
  },
  configOf: async ({ bucket, prefix, endpoint, pointInTime, ...options }) => {
    const file = textOf(options, "credentialsFile");
    const embeds = file !== undefined && options["embedCredentials"] === true;
    return {
      ...{ bucket, prefix, endpoint, pointInTime },
      credentialsFile: file === undefined || embeds ? undefined : resolve(file),
      credentials: embeds ? await readTextFile(file, "credentials file") : undefined,
      readOnly: options["readOnly"] === true ? true : undefined,
    };
  },
  members: ["bucket", "prefix", "endpoint", "credentialsFile", "readOnly", "pointInTime"],
  fromKopia: ({ credentials }) => ({
    credentials:
      credentials && typeof credentials === "object" ? JSON.stringify(credentials) : undefined,
  }),
  toKopia: (config) => {
    const credentials = textOf(config, "credentials");
    return credentials === undefined ? {} : { credentials: parseCredentials(credentials) };
  },
  describe: ({ bucket, prefix = "" }) => `gcs ${String(bucket)}/${String(prefix)}`,
  secrets: { credentials: undefined },
  open: async (config, { environment, readOnly = false }) => {
    const { openGcsStore } = await import("@varve/storage-gcs");
    return await openGcsStore({
      ...optionsOf(config),
      environment,
      readOnly: readOnly || config["readOnly"] === true,
    });
  },
};

/** Throws `invalid-argument`, without the text. */
function parseCredentials(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    throw new VarveError("invalid-argument", "the credentials that were kept are not JSON");
  }
}

function optionsOf(config: StorageConfig): GcsStoreOptions {
  const json = textOf(config, "credentials");
  const path = textOf(config, "credentialsFile");
  return {
    bucket: requiredText(config, "bucket"),
    prefix: textOf(config, "prefix"),
    endpoint: textOf(config, "endpoint"),
    pointInTimeMs: pointInTimeMs(config),
    ...(json === undefined ? {} : { credentials: { kind: "json", json } }),
    ...(path === undefined ? {} : { credentials: { kind: "file", path } }),
  };
}

import { VarveError } from "@varve/core/blob";
import type { S3CredentialChain, S3Credentials, S3Keys, S3StoreOptions } from "@varve/storage-s3";
import {
  addPointInTime,
  optionOrVariable,
  pointInTimeMs,
  readTextFile,
  requiredText,
} from "./cloud-options.ts";
import { addSwitch, parseDurationMs } from "./options.ts";
import { type StorageConfig, type StorageType, textOf } from "./storage-type.ts";

const DEFAULT_ENDPOINT = "s3.amazonaws.com";

export const S3: StorageType = {
  name: "s3",
  description: "a bucket of Amazon S3 or a compatible service",
  addOptions: (command) => {
    command
      .requiredOption("--bucket <name>", "the bucket; it must exist")
      .option("--endpoint <host>", "host and port of the service", DEFAULT_ENDPOINT)
      .option("--region <name>", "of the bucket")
      .addOption(optionOrVariable("--access-key <id>", "access key id", "AWS_ACCESS_KEY_ID"))
      .addOption(
        optionOrVariable("--secret-access-key <key>", "its secret", "AWS_SECRET_ACCESS_KEY"),
      )
      .addOption(
        optionOrVariable("--session-token <token>", "of temporary keys", "AWS_SESSION_TOKEN"),
      )
      .option("--prefix <text>", "put before the names of all blobs; end a folder with /");
    addSwitch(command, "disable-tls", { on: false, help: "http instead of https" });
    addSwitch(command, "disable-tls-verification", {
      on: false,
      help: "trust whatever certificate the service shows",
    });
    command
      .addOption(
        optionOrVariable(
          "--root-ca-pem-base64 <text>",
          "certificate authorities to trust",
          "ROOT_CA_PEM_BASE64",
        ),
      )
      .option("--root-ca-pem-path <file>", "certificate authorities to trust, read once");
    addPointInTime(command);
  },
  configOf: async (options) => {
    const path = textOf(options, "rootCaPemPath");
    const pem = path === undefined ? undefined : await readTextFile(path, "certificates");
    const { bucket, endpoint, region, prefix, pointInTime } = options;
    return {
      ...{ bucket, endpoint, region, prefix, pointInTime },
      accessKeyID: options["accessKey"],
      secretAccessKey: options["secretAccessKey"],
      sessionToken: options["sessionToken"],
      doNotUseTLS: options["disableTls"] === true ? true : undefined,
      doNotVerifyTLS: options["disableTlsVerification"] === true ? true : undefined,
      rootCA: pem === undefined ? options["rootCaPemBase64"] : Buffer.from(pem).toString("base64"),
    };
  },
  members: [
    ...["bucket", "prefix", "endpoint", "region", "pointInTime"],
    ...["doNotUseTLS", "doNotVerifyTLS", "rootCA"],
    ...["accessKeyID", "secretAccessKey", "sessionToken"],
    // These no option sets, as in Kopia: `connect from-config` does.
    ...["roleARN", "sessionName", "duration", "roleEndpoint", "roleRegion"],
    ...["webIdentityToken", "webIdentityTokenFile"],
  ],
  describe: ({ bucket, prefix = "", endpoint = DEFAULT_ENDPOINT }) =>
    `s3 ${String(endpoint)}/${String(bucket)}/${String(prefix)}`,
  secrets: {
    accessKeyID: "AWS_ACCESS_KEY_ID",
    secretAccessKey: "AWS_SECRET_ACCESS_KEY",
    sessionToken: "AWS_SESSION_TOKEN",
    webIdentityToken: undefined,
  },
  open: async (config, { environment, readOnly = false }) => {
    // The SDK would say on standard error what it thinks of this version of Node.
    process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
    const { openS3Store } = await import("@varve/storage-s3");
    return await openS3Store({ ...optionsOf(config), environment, readOnly });
  },
};

function optionsOf(config: StorageConfig): S3StoreOptions {
  const rootCA = textOf(config, "rootCA");
  return {
    bucket: requiredText(config, "bucket"),
    endpoint: textOf(config, "endpoint"),
    region: textOf(config, "region"),
    prefix: textOf(config, "prefix") ?? "",
    pointInTimeMs: pointInTimeMs(config),
    objectLock: "when-needed",
    credentials: credentialsOf(config),
    tls: {
      disabled: config["doNotUseTLS"] === true,
      verify: config["doNotVerifyTLS"] !== true,
      caPem: rootCA === undefined ? undefined : Buffer.from(rootCA, "base64").toString(),
    },
  };
}

/** A role that is assumed with a token or else with keys, or the keys themselves (spec §6.6). Throws `invalid-argument`. */
function credentialsOf(config: StorageConfig): S3Credentials {
  const roleArn = textOf(config, "roleARN");
  if (roleArn === undefined) {
    return keysOf(config);
  }
  const duration = textOf(config, "duration");
  const role = {
    roleArn,
    sessionName: textOf(config, "sessionName"),
    durationSeconds: (duration && Math.floor(parseDurationMs(duration) / 1000)) || undefined,
    stsEndpoint: textOf(config, "roleEndpoint"),
    stsRegion: textOf(config, "roleRegion"),
  };
  const tokenFile = textOf(config, "webIdentityTokenFile");
  const token = tokenFile === undefined ? textOf(config, "webIdentityToken") : undefined;
  return tokenFile === undefined && token === undefined
    ? { kind: "assume-role", ...role, source: keysOf(config) }
    : { kind: "web-identity", ...role, tokenFile, token };
}

/** Static keys, else what Amazon's tools would find. Throws `invalid-argument` for half a pair. */
function keysOf(config: StorageConfig): S3Keys | S3CredentialChain {
  const accessKeyId = textOf(config, "accessKeyID");
  const secretAccessKey = textOf(config, "secretAccessKey");
  if (accessKeyId === undefined && secretAccessKey === undefined) {
    return { kind: "chain" };
  }
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined ? "--access-key" : "--secret-access-key";
    throw new VarveError("invalid-argument", `S3 needs both keys of a pair: no ${missing}`);
  }
  const sessionToken = textOf(config, "sessionToken");
  return { kind: "keys", accessKeyId, secretAccessKey, sessionToken };
}

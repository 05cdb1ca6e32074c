import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import {
  fromNodeProviderChain,
  fromTemporaryCredentials,
  fromTokenFile,
  fromWebToken,
} from "@aws-sdk/credential-providers";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { VarveError } from "@varve/core/blob";
import type { S3Credentials, S3Endpoint, S3StoreOptions, S3WebIdentity } from "./options.ts";

/** The vendor's client, told everything that it would otherwise look for in the environment, and to try once. */

// The SDK writes to the console unless told where else to.
const SILENCE = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const NEVER_MS = 2 ** 31 - 1;

export function createClient(
  options: S3StoreOptions,
  { endpoint, region }: { readonly endpoint: S3Endpoint; readonly region: string },
): S3Client {
  const requestHandler = createHandler(options);
  return new S3Client({
    region,
    ...(endpoint.url === undefined ? {} : { endpoint: endpoint.url }),
    forcePathStyle: endpoint.forcePathStyle,
    credentials: credentialProvider(options.credentials, { region, requestHandler }),
    requestHandler,
    maxAttempts: 1, // retries are `retryStore`'s
    retryMode: "standard",
    defaultsMode: "standard",
    logger: SILENCE,
    // Services that are not Amazon's know no trailing checksums, and puts carry one of their own.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // It costs a round trip, and a connection of its own, for every put.
    expectContinueHeader: false,
    useArnRegion: false,
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    userAgentAppId: "varve",
  });
}

function createHandler({
  tls = {},
  timeouts = {},
  maxConnections = 64,
}: S3StoreOptions): NodeHttpHandler {
  const agent = { keepAlive: true, maxSockets: maxConnections };
  return new NodeHttpHandler({
    connectionTimeout: timeouts.connectMs ?? 10_000,
    socketTimeout: timeouts.idleMs ?? 60_000,
    socketAcquisitionWarningTimeout: NEVER_MS, // waiting for a connection is what the limit is for
    logger: SILENCE,
    httpAgent: new HttpAgent(agent),
    httpsAgent: new HttpsAgent({
      ...agent,
      rejectUnauthorized: tls.verify ?? true,
      ...(tls.caPem === undefined ? {} : { ca: tls.caPem }),
    }),
  });
}

interface ProviderContext {
  readonly region: string;
  readonly requestHandler: NodeHttpHandler;
}

type Provider = NonNullable<S3ClientConfig["credentials"]>;

function credentialProvider(
  credentials: S3Credentials = { kind: "chain" },
  context: ProviderContext,
): Provider {
  switch (credentials.kind) {
    case "keys": {
      const { accessKeyId, secretAccessKey, sessionToken } = credentials;
      return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
    }
    case "chain": {
      const { profile } = credentials;
      return fromNodeProviderChain(profile === undefined ? {} : { profile });
    }
    case "assume-role": {
      const { roleArn, sessionName = "varve", externalId, durationSeconds, source } = credentials;
      return fromTemporaryCredentials({
        masterCredentials: credentialProvider(source, context),
        params: {
          RoleArn: roleArn,
          RoleSessionName: sessionName,
          ...(externalId === undefined ? {} : { ExternalId: externalId }),
          ...(durationSeconds === undefined ? {} : { DurationSeconds: durationSeconds }),
        },
        clientConfig: stsConfig(credentials, context),
      });
    }
    case "web-identity":
      return webIdentityProvider(credentials, context);
    default:
      throw new VarveError("invalid-argument", "credentials: not a kind that is known");
  }
}

function webIdentityProvider(identity: S3WebIdentity, context: ProviderContext): Provider {
  const { roleArn, sessionName = "varve", durationSeconds, token, tokenFile } = identity;
  const role = {
    roleArn,
    roleSessionName: sessionName,
    ...(durationSeconds === undefined ? {} : { durationSeconds }),
    clientConfig: stsConfig(identity, context),
  };
  if (tokenFile !== undefined) {
    return fromTokenFile({ ...role, webIdentityTokenFile: tokenFile });
  }
  if (token === undefined) {
    throw new VarveError("invalid-argument", "web identity: neither token nor tokenFile");
  }
  return fromWebToken({ ...role, webIdentityToken: token });
}

function stsConfig(
  {
    stsEndpoint,
    stsRegion,
  }: { readonly stsEndpoint?: string | undefined; readonly stsRegion?: string | undefined },
  { region, requestHandler }: ProviderContext,
): { region: string; endpoint?: string; requestHandler?: NodeHttpHandler } {
  return {
    region: stsRegion ?? region,
    // An endpoint of one's own is where one's own authority signs.
    ...(stsEndpoint === undefined ? {} : { endpoint: stsEndpoint, requestHandler }),
  };
}

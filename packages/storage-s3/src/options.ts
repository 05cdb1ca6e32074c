import { type CallOptions, type Environment, VarveError } from "@varve/core/blob";

/** Everything that says where a bucket is, who asks and how. */
export interface S3StoreOptions extends CallOptions {
  readonly bucket: string;
  /** Put before every blob id as it is: no slash is added. Default none. */
  readonly prefix?: string;
  /** `host`, `host:port` or a URL of a service that is not Amazon's. Default Amazon S3. */
  readonly endpoint?: string | undefined;
  /** Default: the one that the service names, at the cost of one more request when that is not `us-east-1`. */
  readonly region?: string | undefined;
  /** The bucket in the path instead of the host name. Default: at endpoints that are not Amazon's, Google's or Aliyun's. */
  readonly forcePathStyle?: boolean | undefined;
  readonly tls?: S3TlsOptions | undefined;
  /** Default `{ kind: "chain" }`. */
  readonly credentials?: S3Credentials | undefined;
  /** The first rule whose prefix an id starts with; replaces what `.storageconfig` in the bucket says. */
  readonly storageClassByPrefix?: readonly StorageClassRule[] | undefined;
  /** Default: what the bucket does by itself. */
  readonly serverSideEncryption?: S3Encryption | undefined;
  /** What storage checks a put against. Default `md5`, as Kopia sends it; `sha256` where MD5 is not to be had. */
  readonly checksum?: "md5" | "sha256" | undefined;
  /**
   * That the service heeds `If-None-Match: *` on a put; one that ignores it would replace what is there. Default: true
   * for Amazon, false elsewhere.
   */
  readonly putIfAbsent?: boolean | undefined;
  /**
   * Default: what the bucket's configuration says, at the cost of one request when opening. `when-needed` asks before the
   * first put under retention: feature `object-lock` is told of every bucket, and such a put is refused where there is none.
   */
  readonly objectLock?: boolean | "when-needed" | undefined;
  /** The bucket as it was then, milliseconds since the Unix epoch: read-only, of a bucket that keeps versions. */
  readonly pointInTimeMs?: number | undefined;
  /** Every write throws `read-only`. */
  readonly readOnly?: boolean | undefined;
  readonly timeouts?: S3Timeouts | undefined;
  /** Connections that are open at once, kept alive; further calls wait for one. Default 64. */
  readonly maxConnections?: number | undefined;
  /** Time and the log; the system's by default. */
  readonly environment?: Environment | undefined;
}

/** A bucket as a whole. `.storageconfig` is not read, and object lock is offered only when asked for. */
export interface S3BucketOptions extends Omit<S3StoreOptions, "prefix" | "pointInTimeMs"> {
  /** The endpoint that read URLs name, where others cannot reach the one above. */
  readonly publicEndpoint?: string | undefined;
}

export interface S3TlsOptions {
  /** Plain HTTP. */
  readonly disabled?: boolean | undefined;
  /** False: any certificate will do. */
  readonly verify?: boolean | undefined;
  /** The authorities to trust instead of the system's, PEM. */
  readonly caPem?: string | undefined;
}

export interface S3Timeouts {
  /** Until a connection stands, default 10 000. */
  readonly connectMs?: number | undefined;
  /** Without a byte either way, default 60 000. */
  readonly idleMs?: number | undefined;
  /** For one request with its body, however steadily that drips; default 900 000. */
  readonly requestMs?: number | undefined;
}

export interface S3Keys {
  readonly kind: "keys";
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Environment, shared profiles, SSO, web identity, container (ECS, EKS) and instance (IMDS): the first that has any. */
export interface S3CredentialChain {
  readonly kind: "chain";
  /** Of the shared configuration files. */
  readonly profile?: string | undefined;
}

/** A role of the Security Token Service; its keys are renewed before they expire. */
interface S3Role {
  readonly roleArn: string;
  readonly sessionName?: string | undefined;
  readonly durationSeconds?: number | undefined;
  /** Default Amazon's. */
  readonly stsEndpoint?: string | undefined;
  /** Default: the bucket's. */
  readonly stsRegion?: string | undefined;
}

export interface S3AssumedRole extends S3Role {
  readonly kind: "assume-role";
  readonly externalId?: string | undefined;
  /** Whose role it becomes; default the chain. */
  readonly source?: S3Keys | S3CredentialChain | undefined;
}

/** One of `token` and `tokenFile`; the file is read again whenever the keys are renewed. */
export interface S3WebIdentity extends S3Role {
  readonly kind: "web-identity";
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
}

export type S3Credentials = S3Keys | S3CredentialChain | S3AssumedRole | S3WebIdentity;

export interface StorageClassRule {
  /** Of blob ids; empty for all. */
  readonly prefix: string;
  /** `STANDARD_IA`, `GLACIER_IR`, …; those that must be thawed before they are read are no good for blobs. */
  readonly storageClass: string;
}

export type S3Encryption =
  | { readonly algorithm: "AES256" }
  | { readonly algorithm: "aws:kms"; readonly keyId?: string | undefined };

/** A service's address, taken apart. */
export interface S3Endpoint {
  /** `undefined`: Amazon S3, by region. */
  readonly url: string | undefined;
  /** Of Amazon, whatever the address says besides. */
  readonly isAmazon: boolean;
  readonly forcePathStyle: boolean;
  readonly isEncrypted: boolean;
}

const AMAZON = /(?:^|\.)amazonaws\.com(?:\.cn)?$/;
/** Those that want the bucket in the host name, as Kopia's client has it. */
const VIRTUAL_HOSTED =
  /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|storage\.googleapis\.com|aliyuncs\.com)$/;

/** Throws `invalid-argument` for an endpoint that is none, or that holds a password. */
export function resolveEndpoint(options: S3StoreOptions): S3Endpoint {
  const { endpoint = "s3.amazonaws.com", bucket, tls = {} } = options;
  const scheme = tls.disabled === true ? "http" : "https";
  const text = endpoint.includes("://") ? endpoint : `${scheme}://${endpoint}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin = url !== undefined && /^https?:$/.test(url.protocol) && url.search === "";
  if (!isOrigin || url.username !== "" || url.password !== "") {
    // The text stays out of the message: it may hold a password.
    throw new VarveError("invalid-argument", "endpoint: neither host:port nor an http(s) URL");
  }
  if (tls.disabled === true) {
    url.protocol = "http:";
  }
  const isEncrypted = url.protocol === "https:";
  // A certificate for *.host does not cover a bucket with dots.
  const needsPath = !VIRTUAL_HOSTED.test(url.hostname) || (isEncrypted && bucket.includes("."));
  const isDefault = url.hostname === "s3.amazonaws.com" && isEncrypted && url.port === "";
  return {
    url: isDefault ? undefined : url.href,
    isAmazon: AMAZON.test(url.hostname),
    forcePathStyle: options.forcePathStyle ?? needsPath,
    isEncrypted,
  };
}

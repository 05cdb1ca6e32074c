import type { CallOptions, Environment } from "@varve/core/blob";
import { VarveError } from "@varve/core/blob";

/** What it takes to reach a bucket: where it is, who asks, and how objects are written to it. */

export interface GcsStoreOptions extends CallOptions {
  readonly bucket: string;
  /** Put before every blob id as it stands, so a folder ends in `/`. */
  readonly prefix?: string | undefined;
  /** Default `{ kind: "application-default" }`. */
  readonly credentials?: GcsCredentials | undefined;
  /** Ask for no more than the read-only scope; `put`, `delete` and `extendRetention` throw `read-only`. */
  readonly readOnly?: boolean | undefined;
  /** URL of the service instead of Google's public one: for emulators and private endpoints. */
  readonly endpoint?: string | undefined;
  /** Certificate authorities to trust at the endpoint instead of the system's, PEM. */
  readonly certificateAuthority?: string | undefined;
  /** Show the bucket, read-only, as it was at this time; it must keep versions. */
  readonly pointInTimeMs?: number | undefined;
  /** Whether to offer `object-lock`, default true. It needs a bucket with object retention. */
  readonly objectLock?: boolean | undefined;
  /** Storage class of new blobs: that of the first entry whose `prefix` their id starts with; else the bucket's. */
  readonly storageClasses?: readonly StorageClassRule[] | undefined;
  /** Key of Cloud KMS that new blobs are encrypted with, `projects/…/cryptoKeys/…`; else the bucket's. */
  readonly kmsKeyName?: string | undefined;
  /** A request that moves less than 4 KiB a second over this long has failed; default 60 000. */
  readonly idleTimeoutMs?: number | undefined;
  /** The clock of timeouts; the system's by default. */
  readonly environment?: Environment | undefined;
}

/** A bucket as a whole. */
export type GcsBucketOptions = Omit<GcsStoreOptions, "prefix" | "pointInTimeMs">;

export interface StorageClassRule {
  readonly prefix: string;
  readonly storageClass: "STANDARD" | "NEARLINE" | "COLDLINE" | "ARCHIVE";
}

export type GcsCredentials =
  /** What Google's libraries find: `GOOGLE_APPLICATION_CREDENTIALS`, the gcloud login, the machine's account. */
  | { readonly kind: "application-default" }
  /** Path of a JSON file: key of a service account, or configuration of workload identity federation. */
  | { readonly kind: "file"; readonly path: string }
  /** The content of such a file, as text or parsed. */
  | { readonly kind: "json"; readonly json: string | object }
  /** None are sent: for emulators and public buckets. */
  | { readonly kind: "anonymous" };

const PUBLIC_ENDPOINT = "https://storage.googleapis.com";

/** URL of the service without a slash at its end. Throws `invalid-argument`. */
export function serviceUrl(endpoint: string | undefined): string {
  if (endpoint === undefined) {
    return PUBLIC_ENDPOINT;
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const plain = url !== undefined && url.search === "" && url.hash === "" && url.username === "";
  if (!plain || !/^https?:$/.test(url.protocol)) {
    throw new VarveError("invalid-argument", "the endpoint is not a plain http or https URL");
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

/** The class that new blob `id` gets; `undefined` for the bucket's own. */
export function storageClassOf(
  id: string,
  rules: readonly StorageClassRule[] | undefined,
): StorageClassRule["storageClass"] | undefined {
  return rules?.find(({ prefix }) => id.startsWith(prefix))?.storageClass;
}

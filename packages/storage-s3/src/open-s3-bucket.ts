import { GetObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import {
  type Bucket,
  checkFolder,
  readOnlyStore,
  splitName,
  type StoreFeature,
  VarveError,
} from "@varve/core/blob";
import type { S3Bucket } from "./bucket.ts";
import { createClient } from "./client.ts";
import { listPages } from "./listing.ts";
import { DEFAULT_REGION, openBucket } from "./open-s3-store.ts";
import { resolveEndpoint, type S3BucketOptions, type S3Endpoint } from "./options.ts";
import { upload } from "./upload.ts";
import { S3Store, type S3StoreSettings } from "./store.ts";

/**
 * Opens a bucket of several stores. Makes no request when the region is given; else one, to learn it. Whether the bucket is there shows with
 * the first call. Throws `invalid-argument`.
 */
export async function openS3Bucket(options: S3BucketOptions): Promise<Bucket> {
  if (options.bucket === "") {
    throw new VarveError("invalid-argument", "no bucket");
  }
  const endpoint = resolveEndpoint(options);
  const { region, signal } = options;
  const inner = openBucket(options, endpoint, region ?? DEFAULT_REGION);
  if (region !== undefined) {
    return bucketOf(inner, options, { endpoint, region });
  }
  const probe = listPages(inner, "", { what: `open ${inner.label}`, pageSize: 1, signal });
  await probe.next().catch(() => {}); // what it tells of the region is all that is asked for
  signal?.throwIfAborted();
  const { region: named = DEFAULT_REGION } = inner.named;
  if (named === DEFAULT_REGION) {
    return bucketOf(inner, options, { endpoint, region: named });
  }
  await inner.close();
  return bucketOf(openBucket(options, endpoint, named), options, { endpoint, region: named });
}

function bucketOf(
  inner: S3Bucket,
  options: S3BucketOptions,
  { endpoint, region }: { readonly endpoint: S3Endpoint; readonly region: string },
): Bucket {
  const settings = settingsOf(options, endpoint);
  return {
    label: inner.label,
    store(prefix) {
      const store = new S3Store(inner.at(checkFolder(prefix)), settings);
      return options.readOnly === true ? readOnlyStore(store) : store;
    },
    async *folders(prefix, { signal } = {}) {
      checkFolder(prefix);
      const what = `list the folders of ${JSON.stringify(prefix)}`;
      for await (const { folders } of listPages(inner, prefix, { what, delimiter: "/", signal })) {
        for (const folder of folders) {
          if (folder.startsWith(prefix) && folder.length > prefix.length + 1) {
            yield folder.slice(prefix.length, -1);
          }
        }
      }
    },
    async upload(name, chunks, { signal } = {}) {
      const { folder, id } = splitName(name);
      if (options.readOnly === true) {
        throw new VarveError("read-only", `upload ${name}: ${inner.label} is read-only`);
      }
      await upload(inner.at(folder), id, chunks, { settings, signal });
    },
    async readUrl(name, { seconds, signal }) {
      const client = createClient(options, { endpoint: publicEndpoint(options, endpoint), region });
      const command = new GetObjectCommand({ Bucket: inner.name, Key: name });
      try {
        const attempt = { what: `sign a URL of ${name}`, needs: "s3:GetObject" };
        return await inner.run(attempt, signal, () =>
          getSignedUrl(client, command, { expiresIn: seconds }),
        );
      } finally {
        client.destroy();
      }
    },
    [Symbol.asyncDispose]: () => inner.close(),
  };
}

function publicEndpoint(options: S3BucketOptions, endpoint: S3Endpoint): S3Endpoint {
  const { publicEndpoint: text } = options;
  return text === undefined
    ? endpoint
    : {
        ...resolveEndpoint({ ...options, endpoint: text, tls: {} }),
        forcePathStyle: endpoint.forcePathStyle,
      };
}

function settingsOf(options: S3BucketOptions, endpoint: S3Endpoint): S3StoreSettings {
  const features = new Set<StoreFeature>();
  if (options.putIfAbsent ?? endpoint.isAmazon) {
    features.add("put-if-absent");
  }
  if (options.objectLock === true) {
    features.add("object-lock");
  }
  return {
    features,
    storageClasses: options.storageClassByPrefix ?? [],
    serverSideEncryption: options.serverSideEncryption,
    checksum: options.checksum ?? "md5",
    signBodies: !endpoint.isEncrypted,
  };
}

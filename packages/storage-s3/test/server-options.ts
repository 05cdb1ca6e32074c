import type { S3Server } from "@varve/testenv/s3-servers.ts";
import type { S3StoreOptions } from "../src/index.ts";

/** What it takes to open a bucket on a server of the tests. */
export function serverOptions(server: S3Server, bucket: string): S3StoreOptions {
  const { endpoint, accessKeyId, secretAccessKey, region } = server;
  return {
    bucket,
    endpoint,
    region,
    credentials: { kind: "keys", accessKeyId, secretAccessKey },
    putIfAbsent: server.features.has("put-if-absent"),
  };
}

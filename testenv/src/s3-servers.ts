import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { canRunGoServers, goTool, type RunningServer, startServer } from "./process.ts";
import { type S3Account, s3Request } from "./s3-request.ts";

/** S3 servers for tests: versitygw (a Go module) and, for machines without Go, s3rver (JavaScript). */

export interface S3Server extends S3Account, AsyncDisposable {
  readonly name: string;
  readonly features: ReadonlySet<S3ServerFeature>;
  createBucket(name: string, options?: BucketOptions): Promise<void>;
  stop(): Promise<void>;
}

export type S3ServerFeature =
  | "versioning"
  | "object-lock"
  | "put-if-absent"
  | "checksums"
  | "users";

export interface BucketOptions {
  readonly versioning?: boolean;
  /** Object lock, with a default retention of so many days when a number is given. */
  readonly objectLock?:
    | boolean
    | { readonly mode: "GOVERNANCE" | "COMPLIANCE"; readonly days: number };
}

export type { S3Account } from "./s3-request.ts";

export interface VersitygwServer extends S3Server {
  /** A user who may do the `actions` (`s3:GetObject`, …) in the bucket, and nothing else. */
  createUser(bucket: string, actions: readonly string[]): Promise<S3Account>;
  /** What locks the object, as the server tells it. */
  retentionOf(
    bucket: string,
    key: string,
  ): Promise<{ readonly mode: string; readonly untilMs: number }>;
}

const VERSITYGW = "github.com/versity/versitygw/cmd/versitygw";
const VERSITYGW_VERSION = "v1.8.0";
const REGION = "us-east-1";
const ACCESS_KEY_ID = "varvetestaccess";
const SECRET_ACCESS_KEY = "varve-test-secret-key-0123456789";

/** Every S3 server that can be run here; without Go one line says what is left to `.ci/run`. Stop them all at the end. */
export async function startS3Servers(): Promise<readonly S3Server[]> {
  const servers: S3Server[] = [await startS3rver()];
  if (canRunGoServers("the S3 suites on versitygw")) {
    servers.push(await startVersitygw());
  }
  return servers;
}

/** TLS with a certificate and key in PEM files. */
export interface VersitygwOptions {
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly region?: string;
  /** False: what is locked can neither be deleted nor hidden. Default true. */
  readonly versions?: boolean;
}

/** versitygw on a directory of its own, with versioning, object lock and users; built by the first who asks. */
export async function startVersitygw(options: VersitygwOptions = {}): Promise<VersitygwServer> {
  const { certFile, keyFile, region = REGION, versions = true } = options;
  const command = await goTool(VERSITYGW, VERSITYGW_VERSION);
  const root = await mkdtemp(join(tmpdir(), "varve-versitygw-"));
  const at = (name: string): string => join(root, name);
  for (const name of ["data", "versions", "iam"]) {
    await mkdir(at(name));
  }
  const tls = certFile && keyFile ? ["--cert", certFile, "--key", keyFile] : [];
  const server = await startServer({
    command,
    args: (port) => [
      ...["--port", `127.0.0.1:${port}`, "--region", region, "--iam-dir", at("iam"), ...tls],
      ...["--keep-alive", "--quiet"],
      // Metadata in extended attributes: with a sidecar directory a put over a delete marker stays deleted.
      ...["posix", ...(versions ? ["--versioning-dir", at("versions")] : []), at("data")],
    ],
    env: { ROOT_ACCESS_KEY_ID: ACCESS_KEY_ID, ROOT_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY },
  });
  const account = {
    endpoint: `${tls.length > 0 ? "https" : "http"}://127.0.0.1:${server.port}`,
    accessKeyId: ACCESS_KEY_ID,
    secretAccessKey: SECRET_ACCESS_KEY,
    region,
  };
  const features = ["versioning", "object-lock", "put-if-absent", "checksums", "users"] as const;
  let users = 0;
  return {
    name: "versitygw",
    ...account,
    features: new Set(features),
    createBucket: (name, bucketOptions) => createBucket(account, name, bucketOptions),
    createUser: async (bucket, actions) => {
      users += 1;
      const user = {
        ...account,
        accessKeyId: `user${users}`,
        secretAccessKey: `secret-of-${users}`,
      };
      await createUser(command, account, user);
      await grant(account, { user: user.accessKeyId, bucket, actions });
      return user;
    },
    retentionOf: async (bucket, key) => {
      const path = `/${bucket}/${key}`;
      const xml = await s3Request(account, { method: "GET", path, query: { retention: "" } });
      const [, mode = ""] = /<Mode>(.*)<\/Mode>/.exec(xml) ?? [];
      const [, until = ""] = /<RetainUntilDate>(.*)<\/RetainUntilDate>/.exec(xml) ?? [];
      return { mode, untilMs: Date.parse(until) };
    },
    ...stopping(server, root),
  };
}

/**
 * s3rver on a directory of its own: no versions, no object lock, If-None-Match and Content-MD5 not heeded. It computes
 * other signatures for a bucket than the vendor's SDK does, and so any will do.
 */
export async function startS3rver(): Promise<S3Server> {
  const root = await mkdtemp(join(tmpdir(), "varve-s3rver-"));
  const main = createRequire(import.meta.url).resolve("@20minutes/s3rver");
  const program = `
    const [main, port, directory] = process.argv.slice(1);
    const S3rver = require(main);
    new S3rver({ port: Number(port), address: "127.0.0.1", directory, silent: true, vhostBuckets: false, allowMismatchedSignatures: true }).run();
  `;
  const server = await startServer({
    command: process.execPath,
    args: (port) => ["-e", program, main, String(port), root],
  });
  const account = {
    endpoint: `http://127.0.0.1:${server.port}`,
    accessKeyId: "S3RVER",
    secretAccessKey: "S3RVER",
    region: REGION,
  };
  return {
    name: "s3rver",
    ...account,
    features: new Set(),
    createBucket: (name, bucketOptions) => createBucket(account, name, bucketOptions),
    ...stopping(server, root),
  };
}

function stopping(
  server: RunningServer,
  root: string,
): Pick<S3Server, "stop" | typeof Symbol.asyncDispose> {
  const stop = async (): Promise<void> => {
    await server.stop();
    await rm(root, { recursive: true, force: true });
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

async function createBucket(
  account: S3Account,
  name: string,
  { versioning = false, objectLock = false }: BucketOptions = {},
): Promise<void> {
  const path = `/${name}`;
  await s3Request(account, {
    method: "PUT",
    path,
    headers: objectLock === false ? {} : { "x-amz-bucket-object-lock-enabled": "true" },
  });
  if (versioning && objectLock === false) {
    const body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    await s3Request(account, { method: "PUT", path, query: { versioning: "" }, body });
  }
  if (typeof objectLock === "object") {
    const { mode, days } = objectLock;
    const rule = `<Rule><DefaultRetention><Mode>${mode}</Mode><Days>${days}</Days></DefaultRetention></Rule>`;
    const body = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>${rule}</ObjectLockConfiguration>`;
    await s3Request(account, { method: "PUT", path, query: { "object-lock": "" }, body });
  }
}

async function createUser(command: string, root: S3Account, user: S3Account): Promise<void> {
  await promisify(execFile)(command, [
    ...["admin", "--access", root.accessKeyId, "--secret", root.secretAccessKey],
    ...["--endpoint-url", root.endpoint, "--region", root.region, "--allow-insecure"],
    ...[
      "create-user",
      "--access",
      user.accessKeyId,
      "--secret",
      user.secretAccessKey,
      "--role",
      "user",
    ],
  ]);
}

async function grant(
  account: S3Account,
  options: { user: string; bucket: string; actions: readonly string[] },
): Promise<void> {
  const { user, bucket, actions } = options;
  const Statement = {
    Effect: "Allow",
    Principal: { AWS: [user] },
    Action: actions,
    Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
  };
  const body = JSON.stringify({ Version: "2012-10-17", Statement: [Statement] });
  await s3Request(account, { method: "PUT", path: `/${bucket}`, query: { policy: "" }, body });
}

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { parseBlobId } from "@varve/core/blob";
import { type FaultProxy, startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { s3Request } from "@varve/testenv/s3-request.ts";
import { type S3Server, startS3rver } from "@varve/testenv/s3-servers.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openS3Store, type S3Credentials, type S3StoreOptions } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";

/**
 * Every way to keys, with the vendor's own SDK: a small server of the tests is the security token service, the metadata service
 * of an instance and that of a container. What they hand out is what the S3 server takes: s3rver, since versitygw takes no
 * session tokens. It knows its access key, and lets every signature pass.
 */

const TOKEN = "a session token";
const ID = parseBlobId("p1");
let server: S3Server;
let proxy: FaultProxy;
let folder: string;
/** The forms that the token service got. */
const asked: URLSearchParams[] = [];
/** What the token service says, when it does. */
let refusal = "";
/** Of the keys that are handed out; the SDK renews those that are about to expire. */
let lifetimeMs = 3_600_000;
const identity = createServer((request, response) => void answer(request, response));
const origin = (): string => `http://127.0.0.1:${(identity.address() as AddressInfo).port}`; // it listens on TCP

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "varve-s3-credentials-"));
  server = await startS3rver();
  await server.createBucket("bucket");
  proxy = await startFaultProxy({ target: server.endpoint, record: true });
  identity.listen(0, "127.0.0.1");
  await once(identity, "listening");
});

afterAll(async () => {
  identity.closeAllConnections();
  identity.close();
  await proxy.stop();
  await server.stop();
  rmSync(folder, { recursive: true });
});

beforeEach(() => {
  asked.length = 0;
  proxy.resetCounts();
  // Nothing of whoever runs the tests.
  for (const name of Object.keys(process.env).filter((known) => known.startsWith("AWS_"))) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "none"));
});
afterEach(() => {
  vi.unstubAllEnvs();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = Buffer.concat(await request.toArray()).toString();
  const { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey } = server;
  const Expiration = new Date(Date.now() + lifetimeMs).toISOString();
  const keys = { AccessKeyId, SecretAccessKey, Expiration };
  const role = "/latest/meta-data/iam/security-credentials/";
  switch (`${request.method} ${request.url}`) {
    case "PUT /latest/api/token":
      response.end("of the metadata service");
      return;
    case `GET ${role}`:
      response.end("machine");
      return;
    case `GET ${role}machine`:
      response.end(JSON.stringify({ Code: "Success", ...keys, Token: TOKEN }));
      return;
    case "GET /container":
      response.statusCode = request.headers.authorization === "let me" ? 200 : 401;
      response.end(JSON.stringify({ ...keys, Token: TOKEN }));
      return;
    default:
      tellRole(response, new URLSearchParams(body), { ...keys, SessionToken: TOKEN });
  }
}

/** As the Security Token Service says it. */
function tellRole(response: ServerResponse, form: URLSearchParams, keys: object): void {
  asked.push(form);
  const action = form.get("Action") ?? "";
  const xml = Object.entries(keys).map(([name, value]) => `<${name}>${value}</${name}>`);
  response.writeHead(refusal === "" ? 200 : 403, { "content-type": "text/xml" });
  response.end(
    refusal === ""
      ? `<${action}Response><${action}Result><Credentials>${xml.join("")}</Credentials></${action}Result></${action}Response>`
      : `<ErrorResponse><Error><Type>Sender</Type>${refusal}</Error></ErrorResponse>`,
  );
}

function open(credentials: S3Credentials, more: Partial<S3StoreOptions> = {}) {
  const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint, credentials };
  return openS3Store({ ...options, objectLock: false, ...more });
}

/** The access key and the session token that the requests came with. */
async function keysUsed(credentials: S3Credentials): Promise<unknown> {
  await using store = await open(credentials);
  await store.put(ID, [Uint8Array.of(1)]);
  expect(await store.get(ID)).toEqual(Uint8Array.of(1));
  const seen = proxy.requests.map(({ headers }) => [
    /Credential=([^/]+)/.exec(headers.authorization ?? "")?.[1],
    headers["x-amz-security-token"],
  ]);
  expect(new Set(seen.map(String)).size).toBe(1);
  return seen[0];
}

/** An ini file of Amazon's tools. */
function profiles(name: string, sections: Readonly<Record<string, object>>): string {
  const lines = Object.entries(sections).flatMap(([section, values]) => [
    `[${section}]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${value}`),
  ]);
  writeFileSync(join(folder, name), lines.join("\n"));
  return join(folder, name);
}

const NOBODY = {
  kind: "keys",
  accessKeyId: "nobody",
  secretAccessKey: "s3cr3t-of-nobody",
} as const;
const roleArn = "arn:aws:iam::123456789012:role/backup";

describe("keys", () => {
  test("of the caller, with a session token", async () => {
    const { accessKeyId, secretAccessKey } = server;
    const keys = { kind: "keys", accessKeyId, secretAccessKey, sessionToken: TOKEN } as const;
    expect(await keysUsed(keys)).toEqual([accessKeyId, TOKEN]);
  });

  test("of the environment", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", server.accessKeyId);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", server.secretAccessKey);
    vi.stubEnv("AWS_SESSION_TOKEN", TOKEN);
    expect(await keysUsed({ kind: "chain" })).toEqual([server.accessKeyId, TOKEN]);
  });

  test("of a profile that is named, or the default one", async () => {
    const { accessKeyId: aws_access_key_id, secretAccessKey: aws_secret_access_key } = server;
    const good = { aws_access_key_id, aws_secret_access_key };
    const bad = { aws_access_key_id: "nobody", aws_secret_access_key: "x" };
    const file = profiles("credentials", { default: bad, backup: good });
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", file);
    expect(await keysUsed({ kind: "chain", profile: "backup" })).toEqual([
      server.accessKeyId,
      undefined,
    ]);
    await expect(open({ kind: "chain" })).rejects.toMatchObject({ code: "access-denied" });
  });

  test("of a profile that assumes a role", async () => {
    const source = { aws_access_key_id: "nobody", aws_secret_access_key: "x" };
    const robot = { role_arn: roleArn, source_profile: "default", region: "us-east-1" };
    const file = profiles("config", { default: source, "profile robot": robot });
    vi.stubEnv("AWS_CONFIG_FILE", file);
    vi.stubEnv("AWS_ENDPOINT_URL_STS", origin());
    expect(await keysUsed({ kind: "chain", profile: "robot" })).toEqual([
      server.accessKeyId,
      TOKEN,
    ]);
    expect(asked[0]?.get("RoleArn")).toBe(roleArn);
  });

  test("of the machine, by its metadata service", async () => {
    vi.stubEnv("AWS_EC2_METADATA_SERVICE_ENDPOINT", origin());
    expect(await keysUsed({ kind: "chain" })).toEqual([server.accessKeyId, TOKEN]);
  });

  test("of the container", async () => {
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${origin()}/container`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me");
    expect(await keysUsed({ kind: "chain" })).toEqual([server.accessKeyId, TOKEN]);
  });

  test("that nobody has are said to be missing", async () => {
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    await expect(open({ kind: "chain" })).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("Could not load credentials"),
    });
  });
});

describe("a role", () => {
  const WRONG = [
    [
      "AccessDenied",
      "User nobody is not authorized to perform: sts:AssumeRole",
      /cannot be assumed: .*sts:AssumeRole/,
    ],
    ["InvalidClientTokenId", "The security token is invalid", /access key ID is not known/],
    ["InvalidIdentityToken", "No OpenIDConnect provider found", /No OpenIDConnect provider found/],
    ["ExpiredTokenException", "Token expired", /token has expired/],
  ] as const;
  test.each(WRONG)(
    "that is refused with %s is named as that, and no secret is shown",
    async (code, words, told) => {
      refusal = `<Code>${code}</Code><Message>${words}</Message>`;
      const role = { kind: "assume-role", roleArn, stsEndpoint: origin(), source: NOBODY } as const;
      const failure: unknown = await open(role).catch((error: unknown) => error);
      refusal = "";
      expect(failure).toMatchObject({ code: "access-denied", retryable: false });
      expect(String(failure)).toMatch(told);
      expect(inspect(failure, { depth: 20, showHidden: true })).not.toContain("s3cr3t-of-nobody");
    },
  );

  test("is assumed with keys, for as long and under the names that were given", async () => {
    const credentials = {
      kind: "assume-role",
      ...{ roleArn, externalId: "us", sessionName: "nightly", durationSeconds: 900 },
      ...{ stsEndpoint: origin(), source: NOBODY },
    } as const;
    expect(await keysUsed(credentials)).toEqual([server.accessKeyId, TOKEN]);
    expect(asked).toHaveLength(1);
    expect(Object.fromEntries(asked[0] ?? [])).toMatchObject({
      Action: "AssumeRole",
      RoleArn: roleArn,
      ExternalId: "us",
      RoleSessionName: "nightly",
      DurationSeconds: "900",
    });
  });

  test("is assumed with the token in a file, which is read again when the keys are renewed", async () => {
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "first");
    lifetimeMs = 1_000; // the SDK takes new ones some minutes before
    const credentials = {
      kind: "web-identity",
      roleArn,
      tokenFile,
      stsEndpoint: origin(),
    } as const;
    await using store = await open(credentials);
    writeFileSync(tokenFile, "second");
    await store.put(ID, []);
    lifetimeMs = 3_600_000;
    const tokens = asked.map((form) => [form.get("Action"), form.get("WebIdentityToken")]);
    expect(tokens[0]).toEqual(["AssumeRoleWithWebIdentity", "first"]);
    expect(tokens.at(-1)).toEqual(["AssumeRoleWithWebIdentity", "second"]);
    expect(proxy.requests.at(-1)?.headers["x-amz-security-token"]).toBe(TOKEN);
  });

  test("is assumed with a token that was given, or one that the environment names", async () => {
    const given = { kind: "web-identity", roleArn, token: "given", stsEndpoint: origin() } as const;
    expect(await keysUsed(given)).toEqual([server.accessKeyId, TOKEN]);
    proxy.resetCounts();
    writeFileSync(join(folder, "platform"), "of the platform");
    vi.stubEnv("AWS_ROLE_ARN", roleArn);
    vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", join(folder, "platform"));
    vi.stubEnv("AWS_ENDPOINT_URL_STS", origin());
    vi.stubEnv("AWS_REGION", "us-east-1");
    expect(await keysUsed({ kind: "chain" })).toEqual([server.accessKeyId, TOKEN]);
    expect(asked.map((form) => form.get("WebIdentityToken"))).toEqual(["given", "of the platform"]);
  });
});

describe("objects are put", () => {
  const sse = { algorithm: "aws:kms", keyId: "arn:aws:kms:key/1" } as const;
  const headersOfPut = async (more: Partial<S3StoreOptions>): Promise<unknown[]> => {
    const { accessKeyId, secretAccessKey } = server;
    const keys = { kind: "keys", accessKeyId, secretAccessKey } as const;
    await using store = await open(keys, more);
    for (const id of ["p1", "q1", "kopia.repository"]) {
      // What a server of the tests makes of it is its own affair.
      await store.put(parseBlobId(id), []).catch(() => {});
    }
    return proxy.requests
      .filter(({ operation }) => operation === "PUT")
      .map(({ headers }) => [
        headers["x-amz-storage-class"],
        headers["x-amz-server-side-encryption"],
        headers["x-amz-server-side-encryption-aws-kms-key-id"],
      ]);
  };
  const rules = [
    { prefix: "p", storageClass: "STANDARD_IA" },
    { prefix: "", storageClass: "REDUCED_REDUNDANCY" },
  ];

  test("in the storage class of their prefix, as options say or `.storageconfig` in the bucket", async () => {
    const wanted = ["STANDARD_IA", "REDUCED_REDUNDANCY", "REDUCED_REDUNDANCY"];
    const expected = wanted.map((name) => [name, undefined, undefined]);
    expect(await headersOfPut({ storageClassByPrefix: rules })).toEqual(expected);
    proxy.resetCounts();
    const path = "/bucket/classes/.storageconfig";
    await s3Request(server, { method: "PUT", path, body: JSON.stringify({ blobOptions: rules }) });
    expect(await headersOfPut({ prefix: "classes/" })).toEqual(expected);
  });

  test("with the encryption that was asked for", async () => {
    const kms = await headersOfPut({ serverSideEncryption: sse });
    expect(kms[0]).toEqual([undefined, "aws:kms", sse.keyId]);
    proxy.resetCounts();
    const own = await headersOfPut({ serverSideEncryption: { algorithm: "AES256" } });
    expect(own[0]).toEqual([undefined, "AES256", undefined]);
  });
});

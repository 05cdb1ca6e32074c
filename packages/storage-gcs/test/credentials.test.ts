import { generateKeyPairSync, verify } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { parseBlobId } from "@varve/core/blob";
import { afterAll, describe, expect, test, vi } from "vitest";
import { type GcsCredentials, openGcsStore } from "../src/index.ts";
import { type Answerer, sayJson, sayNo, startCannedGcs } from "./canned-gcs.ts";

/** Who asks: every kind of credentials, without Google, and that none of them is ever told. */

const folder = mkdtempSync(join(tmpdir(), "varve-gcs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { publicKey, privateKey } = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});
const SERVICE_ACCOUNT = {
  type: "service_account",
  project_id: "p",
  private_key_id: "key-1",
  private_key: privateKey,
  client_email: "me@p.iam.gserviceaccount.com",
};
const file = join(folder, "credentials.json");
writeFileSync(file, JSON.stringify(SERVICE_ACCOUNT));

/** What the server saw as authorization when a store was opened. */
async function authorizationOf(
  credentials: GcsCredentials | undefined,
  options: { readOnly?: boolean } = {},
): Promise<string | undefined> {
  await using server = await startCannedGcs((_, response) => sayJson(response, {}));
  await using _store = await openGcsStore({
    bucket: "b",
    endpoint: server.endpoint,
    credentials,
    ...options,
  });
  return server.requests[0]?.headers.authorization;
}

/** The claims of a token that the service account signed. */
function claimsOf(authorization: string | undefined): Record<string, unknown> {
  const [head = "", claims = "", signature = ""] = (authorization ?? "")
    .slice("Bearer ".length)
    .split(".");
  const signed = Buffer.from(`${head}.${claims}`);
  expect(verify("sha256", signed, publicKey, Buffer.from(signature, "base64url"))).toBe(true);
  return JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
}

const FULL = "https://www.googleapis.com/auth/devstorage.full_control";
const READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only";

describe("the key of a service account", () => {
  test.each([
    ["as JSON text", { kind: "json", json: JSON.stringify(SERVICE_ACCOUNT) }],
    ["as a JSON object", { kind: "json", json: SERVICE_ACCOUNT }],
    ["in a file", { kind: "file", path: file }],
  ] as const)("%s signs a token for full control", async (_, credentials) => {
    const claims = claimsOf(await authorizationOf(credentials));
    expect(claims).toMatchObject({ iss: SERVICE_ACCOUNT.client_email, scope: FULL });
  });

  test("that is the application default does too", async () => {
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", file);
    const claims = claimsOf(await authorizationOf(undefined));
    vi.unstubAllEnvs();
    expect(claims).toMatchObject({ iss: SERVICE_ACCOUNT.client_email, scope: FULL });
  });

  test("signs one for reading only, when no more is wanted", async () => {
    const authorization = await authorizationOf({ kind: "file", path: file }, { readOnly: true });
    expect(claimsOf(authorization)).toMatchObject({ scope: READ_ONLY });
  });

  test("is in no error, label or picture of the store", async () => {
    await using server = await startCannedGcs((request, response) => {
      if (request.query["maxResults"] === "1") {
        sayJson(response, {});
      } else {
        sayNo(response, 401, `Invalid Credentials ${request.headers.authorization}`);
      }
    });
    const credentials = { kind: "json", json: SERVICE_ACCOUNT } as const;
    await using store = await openGcsStore({ bucket: "b", endpoint: server.endpoint, credentials });
    const error: unknown = await store.stat(parseBlobId("x")).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "access-denied" });
    const pictures = [
      store.label,
      inspect(store, { depth: 9, showHidden: true }),
      inspect(error, { depth: 9 }),
    ].join();
    const token = server.requests[1]?.headers.authorization?.slice("Bearer ".length) ?? "";
    expect(token.length).toBeGreaterThan(100);
    expect(pictures).not.toContain(token);
    expect(pictures).not.toContain("PRIVATE KEY");
  });
});

describe("workload identity", () => {
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "token of the platform");

  const throughServer = async <T>(
    answerToken: Answerer,
    work: (
      open: () => ReturnType<typeof openGcsStore>,
      authorizations: () => unknown[],
    ) => Promise<T>,
  ): Promise<T> => {
    await using server = await startCannedGcs((request, response) =>
      request.path === "/token" ? answerToken(request, response) : sayJson(response, {}),
    );
    const json = {
      type: "external_account",
      audience:
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: `${server.endpoint}/token`,
      credential_source: { file: tokenFile },
    };
    return await work(
      () =>
        openGcsStore({
          bucket: "b",
          endpoint: server.endpoint,
          credentials: { kind: "json", json },
        }),
      () => server.requests.map(({ path, headers }) => [path, headers.authorization]),
    );
  };

  test("exchanges the platform's token once for all requests", async () => {
    const answer: Answerer = ({ body }, response) => {
      expect(new URLSearchParams(body).get("subject_token")).toBe("token of the platform");
      sayJson(response, { access_token: "from-sts", expires_in: 3600, token_type: "Bearer" });
    };
    await throughServer(answer, async (open, authorizations) => {
      await using store = await open();
      for await (const { id } of store.list("")) {
        expect(id).toBeUndefined();
      }
      expect(authorizations()).toEqual([
        ["/token", undefined],
        ["/storage/v1/b/b/o", "Bearer from-sts"],
        ["/storage/v1/b/b/o", "Bearer from-sts"],
      ]);
    });
  });

  test("that is refused says why, and nothing of the token", async () => {
    const answer: Answerer = (_, response) =>
      sayJson(response, { error: "invalid_grant", error_description: "the token is expired" }, 400);
    await throughServer(answer, async (open) => {
      const error: unknown = await open().catch((error: unknown) => error);
      expect(error).toMatchObject({
        code: "access-denied",
        message: expect.stringMatching(/not accepted.*invalid_grant.*the token is expired/),
      });
      expect(inspect(error, { depth: 9 })).not.toContain("token of the platform");
    });
  });

  test("whose server fails may be tried again", async () => {
    await throughServer(
      (_, response) => response.writeHead(503).end(),
      async (open) => {
        await expect(open()).rejects.toMatchObject({ code: "storage-failed", retryable: true });
      },
    );
  });
});

test("the account of the machine, or of the workload on it, comes from the metadata service", async () => {
  await using machine = await startCannedGcs((request, response) => {
    response.setHeader("metadata-flavor", "Google");
    const isAllowed = request.headers["metadata-flavor"] === "Google";
    const token = { access_token: "of the machine", expires_in: 3600, token_type: "Bearer" };
    if (isAllowed && request.path.endsWith("/token")) {
      sayJson(response, token);
    } else {
      response.end("default");
    }
  });
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", "");
  vi.stubEnv("HOME", folder);
  vi.stubEnv("CLOUDSDK_CONFIG", folder);
  vi.stubEnv("GOOGLE_CLOUD_PROJECT", "p"); // else the library would look for gcloud
  vi.stubEnv("METADATA_SERVER_DETECTION", "assume-present");
  vi.stubEnv("GCE_METADATA_HOST", new URL(machine.endpoint).host);
  const authorization = await authorizationOf({ kind: "application-default" }, { readOnly: true });
  vi.unstubAllEnvs();
  expect(authorization).toBe("Bearer of the machine");
  const { path, query } = machine.requests.find((seen) => seen.path.endsWith("/token")) ?? {};
  expect(path).toBe("/computeMetadata/v1/instance/service-accounts/default/token");
  expect(query).toEqual({ scopes: READ_ONLY });
});

describe("credentials that are none", () => {
  test("are refused before anything is sent, without their text", async () => {
    const broken = join(folder, "broken.json");
    writeFileSync(broken, "secret {");
    for (const credentials of [
      { kind: "file", path: join(folder, "missing.json") },
      { kind: "file", path: broken },
      { kind: "json", json: "secret" },
      { kind: "json", json: "[]" },
      { kind: "json", json: { private_key: "secret" } },
    ] as const) {
      const opening = openGcsStore({ bucket: "b", endpoint: "http://127.0.0.1:1", credentials });
      const error: unknown = await opening.catch((error: unknown) => error);
      expect(error).toMatchObject({ code: "invalid-argument" });
      expect(inspect(error, { depth: 9 })).not.toContain("secret");
    }
  });

  test("of a damaged key are access-denied", async () => {
    const json = { ...SERVICE_ACCOUNT, private_key: "secret" };
    const opening = authorizationOf({ kind: "json", json });
    const error: unknown = await opening.catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "access-denied" });
    expect(inspect(error, { depth: 9 })).not.toContain("secret");
  });

  test("are not authenticated where no default is found", async () => {
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", "");
    vi.stubEnv("METADATA_SERVER_DETECTION", "none");
    vi.stubEnv("HOME", folder);
    vi.stubEnv("CLOUDSDK_CONFIG", folder);
    await expect(authorizationOf({ kind: "application-default" })).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("not authenticated"),
    });
    vi.unstubAllEnvs();
  });

  test("that are anonymous send no header", async () => {
    expect(await authorizationOf({ kind: "anonymous" })).toBeUndefined();
  });
});

import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { parseBlobId } from "@varve/core/blob";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type AzureCredentials, type AzureStoreOptions, openAzureStore } from "../src/index.ts";
import { authorityHost as directoryOf, serviceUrl } from "../src/options.ts";

/** Identities: tokens of a directory service of the tests, whose claims Azurite checks. */

const TENANT = "11111111-2222-3333-4444-555555555555";
const SECRET = "the secret of a principal";
const ID = parseBlobId("p1");

const certificate = makeCertificate(["127.0.0.1"]);
const azurite = await startAzurite({ certificate, oauth: true });
await azurite.createContainer("identities");
const folder = await mkdtemp(join(tmpdir(), "varve-azure-identity-"));

/** A token with the claims that Azurite looks at; nobody checks its signature. */
function makeToken(lifetimeSeconds = 3600): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: `https://sts.windows.net/${TENANT}/`,
    aud: "https://storage.azure.com",
    nbf: now - 7200,
    iat: now - 7200,
    exp: now + lifetimeSeconds,
  };
  const parts = [{ alg: "RS256", typ: "JWT" }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url"),
  );
  return [...parts, "c2lnbmF0dXJl"].join(".");
}

const asked: URLSearchParams[] = [];
const directory = createServer(
  { cert: certificate.certificate, key: certificate.key },
  (request, response) => void answer(request, response),
);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
  const say = (status: number, body: object): void => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  if (request.method === "GET") {
    const issuer = `${authorityHost()}/${TENANT}`;
    say(200, {
      issuer: `${issuer}/v2.0`,
      token_endpoint: `${issuer}/oauth2/v2.0/token`,
      jwks_uri: `${issuer}/discovery/v2.0/keys`,
      authorization_endpoint: `${issuer}/oauth2/v2.0/authorize`,
    });
    return;
  }
  asked.push(form);
  const isKnown = form.get("client_secret") === SECRET || form.has("client_assertion");
  say(
    isKnown ? 200 : 401,
    isKnown
      ? { token_type: "Bearer", expires_in: 3600, access_token: makeToken() }
      : {
          error: "invalid_client",
          error_description: `AADSTS7000215: Invalid client secret provided.`,
        },
  );
}

function authorityHost(): string {
  const { port } = directory.address() as AddressInfo; // it listens on TCP
  return `https://127.0.0.1:${port}`;
}

beforeAll(async () => {
  directory.listen(0, "127.0.0.1");
  await once(directory, "listening");
});

afterAll(async () => {
  directory.close();
  directory.closeAllConnections();
  await azurite.stop();
  await rm(folder, { recursive: true });
});

function optionsWith(credentials: AzureCredentials): AzureStoreOptions {
  return {
    container: "identities",
    endpoint: azurite.endpoint,
    certificateAuthority: certificate.certificate,
    credentials,
  };
}

async function writesAndReads(credentials: AzureCredentials): Promise<void> {
  await using store = await openAzureStore(optionsWith(credentials));
  await store.put(ID, [Uint8Array.of(5)]);
  expect(await store.get(ID)).toEqual(Uint8Array.of(5));
}

test("tokens of the caller are used", async () => {
  const expiresOnTimestamp = Date.now() + 3_600_000;
  const getToken = async (): Promise<{ token: string; expiresOnTimestamp: number }> => ({
    token: makeToken(),
    expiresOnTimestamp,
  });
  await writesAndReads({ kind: "token", tokenCredential: { getToken } });
});

test("a token that has expired is refused, and not shown", async () => {
  const token = makeToken(-3600);
  const getToken = async (): Promise<{ token: string; expiresOnTimestamp: number }> => ({
    token,
    expiresOnTimestamp: Date.now() + 3_600_000,
  });
  const credentials = { kind: "token", tokenCredential: { getToken } } as const;
  const error: unknown = await openAzureStore(optionsWith(credentials)).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "access-denied", retryable: false });
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(token);
});

test("a service principal with a secret gets a token", async () => {
  await writesAndReads({
    kind: "client-secret",
    tenantId: TENANT,
    clientId: "client",
    clientSecret: SECRET,
    authorityHost: authorityHost(),
  });
  expect(asked.at(-1)?.get("scope")).toContain("https://storage.azure.com/.default");
});

test("a wrong secret is named as what is wrong, and not shown", async () => {
  const clientSecret = "a secret that is wrong";
  const error: unknown = await openAzureStore(
    optionsWith({
      kind: "client-secret",
      tenantId: TENANT,
      clientId: "client",
      clientSecret,
      authorityHost: authorityHost(),
    }),
  ).catch((e: unknown) => e);
  expect(error).toMatchObject({
    code: "access-denied",
    message: expect.stringMatching(/no token for account varvetest: .*invalid_client/),
  });
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(clientSecret);
});

test("a workload identity hands over the token in its file", async () => {
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, "the token of the cluster");
  await writesAndReads({
    kind: "workload-identity",
    tenantId: TENANT,
    clientId: "workload",
    tokenFile,
    authorityHost: authorityHost(),
  });
  expect(asked.at(-1)?.get("client_assertion")).toBe("the token of the cluster");
});

test("a service principal with a certificate signs for itself", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  await writesAndReads({
    kind: "client-certificate",
    tenantId: TENANT,
    clientId: "client",
    certificate: `${key}${certificate.certificate}`,
    authorityHost: authorityHost(),
  });
});

describe("the identity of the machine", () => {
  const queries: URLSearchParams[] = [];
  const machine = createHttpServer((request, response) => {
    const query = new URL(request.url ?? "/", "http://machine").searchParams;
    queries.push(query);
    const isKnown = query.get("client_id") !== "stranger";
    const isAllowed = isKnown && request.headers["x-identity-header"] === "let me";
    const expires_on = String(Math.floor(Date.now() / 1000) + 3600);
    response.writeHead(isAllowed ? 200 : 401, { "content-type": "application/json" });
    response.end(
      JSON.stringify(
        isAllowed
          ? { access_token: makeToken(), expires_on, token_type: "Bearer", resource: "storage" }
          : { error: "unauthorized_client", error_description: "not for you" },
      ),
    );
  });
  beforeAll(async () => {
    machine.listen(0, "127.0.0.1");
    await once(machine, "listening");
  });
  afterAll(() => {
    machine.closeAllConnections();
    machine.close();
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    queries.length = 0;
  });
  const onTheMachine = (): void => {
    const { port } = machine.address() as AddressInfo; // it listens on TCP
    vi.stubEnv("IDENTITY_ENDPOINT", `http://127.0.0.1:${port}/token`);
    vi.stubEnv("IDENTITY_HEADER", "let me");
  };

  test("is asked for a token, by the id that was assigned to it when there is one", async () => {
    onTheMachine();
    await writesAndReads({ kind: "managed-identity" });
    await writesAndReads({ kind: "managed-identity", clientId: "assigned" });
    expect(queries.map((query) => query.get("client_id"))).toEqual([null, "assigned"]);
    expect(queries[0]?.get("resource")).toBe("https://storage.azure.com");
  });

  test("is what the library finds when nothing else is there", async () => {
    onTheMachine();
    await writesAndReads({ kind: "default" });
    expect(queries.length).toBeGreaterThan(0);
  });

  test("that is refused a token is said to be that", async () => {
    onTheMachine();
    const stranger = { kind: "managed-identity", clientId: "stranger" } as const;
    const opening = openAzureStore(optionsWith(stranger));
    await expect(opening).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("no token for account varvetest"),
    });
  });
});

test.each([
  [undefined, "https://acc.blob.core.windows.net", undefined],
  [
    "blob.core.usgovcloudapi.net",
    "https://acc.blob.core.usgovcloudapi.net",
    "https://login.microsoftonline.us",
  ],
  [
    "blob.core.chinacloudapi.cn",
    "https://acc.blob.core.chinacloudapi.cn",
    "https://login.chinacloudapi.cn",
  ],
])(
  "in the cloud of %s accounts are hosts of it, and it has a directory of its own",
  (storageDomain, url, host) => {
    const credentials = { kind: "default" } as const;
    expect(serviceUrl({ container: "c", storageAccount: "acc", storageDomain, credentials })).toBe(
      url,
    );
    expect(directoryOf(storageDomain)).toBe(host);
  },
);

import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { parseBlobId } from "@varve/core/blob";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AzureCredentials, type AzureStoreOptions, openAzureStore } from "../src/index.ts";

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

import { randomUUID, sign, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate, type TestCertificate } from "./certificate.ts";
import { goTool, startServer } from "./process.ts";

/** An image registry: Distribution, which OpenShift's own registry and OADP's plug-in are made of. */

const MODULE = "github.com/distribution/distribution/v3/cmd/registry";
const VERSION = "v3.1.2";

export interface TestRegistry extends AsyncDisposable {
  /** `https://127.0.0.1:<port>`, or `http:` for one without tokens. */
  readonly url: string;
  /** PEM; empty without TLS. */
  readonly ca: string;
  stop(): Promise<void>;
}

/** In a bucket of an S3 server, at its root; left out: in a folder of its own. */
export interface RegistryBucket {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
}

export interface RegistryOptions {
  /** With TLS, and only for who shows this token to its token service, as user `serviceaccount`. */
  readonly token?: string;
  readonly s3?: RegistryBucket;
}

/** Builds the registry, once; this takes some five minutes of CPU. */
export async function buildRegistry(): Promise<string> {
  return await goTool(MODULE, VERSION);
}

export async function startRegistry({ token, s3 }: RegistryOptions = {}): Promise<TestRegistry> {
  const command = await buildRegistry();
  const root = await mkdtemp(join(tmpdir(), "varve-registry-"));
  const certificate = makeCertificate(["127.0.0.1"]);
  const [certFile, keyFile] = [join(root, "cert.pem"), join(root, "key.pem")];
  await writeFile(certFile, certificate.certificate);
  await writeFile(keyFile, certificate.key);
  const tokens = token === undefined ? undefined : await serveTokens(token, certificate);
  const config = join(root, "config.json");
  const server = await startServer({
    command,
    args: (port) => {
      // YAML, which JSON is.
      writeFileSync(config, JSON.stringify(configOf(port)));
      return ["serve", config];
    },
    env: { OTEL_TRACES_EXPORTER: "none" },
  });
  function configOf(port: number): object {
    const tls = { certificate: certFile, key: keyFile };
    return {
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: s3 === undefined ? { filesystem: { rootdirectory: join(root, "data") } } : s3Of(s3),
      http: {
        addr: `127.0.0.1:${port}`,
        secret: "of a test",
        ...(tokens === undefined ? {} : { tls }),
      },
      ...(tokens === undefined
        ? {}
        : {
            auth: {
              token: {
                realm: `${tokens.url}/openshift/token`,
                service: SERVICE,
                issuer: ISSUER,
                rootcertbundle: certFile,
              },
            },
          }),
    };
  }
  const stop = async (): Promise<void> => {
    await server.stop();
    await tokens?.stop();
    await rm(root, { recursive: true, force: true });
  };
  const scheme = tokens === undefined ? "http" : "https";
  return {
    url: `${scheme}://127.0.0.1:${server.port}`,
    ca: tokens === undefined ? "" : certificate.certificate,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const SERVICE = "registry";
const ISSUER = "varve test";

function s3Of({ endpoint, region, accessKeyId, secretAccessKey, bucket }: RegistryBucket): object {
  return {
    s3: {
      region,
      regionendpoint: endpoint,
      accesskey: accessKeyId,
      secretkey: secretAccessKey,
      bucket,
      forcepathstyle: true,
      secure: false,
    },
    redirect: { disable: true },
  };
}

/** Gives whoever knows the secret a signed token for all that is asked for, for a minute. */
async function serveTokens(
  secret: string,
  { certificate, key }: TestCertificate,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const expected = `Basic ${Buffer.from(`serviceaccount:${secret}`).toString("base64")}`;
  const server = createServer({ cert: certificate, key }, (request, response) => {
    const { searchParams } = new URL(request.url ?? "", "https://127.0.0.1");
    if (request.headers.authorization !== expected) {
      response.writeHead(401).end();
      return;
    }
    const access = searchParams
      .getAll("scope")
      .flatMap((scopes) => scopes.split(" "))
      .map((scope) => {
        const [type, name, actions = ""] = scope.split(":");
        return { type, name, actions: actions.split(",") };
      });
    const nowSeconds = Math.floor(Date.now() / 1000);
    const claims = {
      iss: ISSUER,
      aud: SERVICE,
      sub: "serviceaccount",
      nbf: nowSeconds - 10,
      iat: nowSeconds,
      exp: nowSeconds + 60,
      jti: randomUUID(),
      access,
    };
    response.end(JSON.stringify({ token: signed(claims, { certificate, key }), expires_in: 60 }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `https://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A JSON web token. */
function signed(claims: object, { certificate, key }: TestCertificate): string {
  const x5c = [new X509Certificate(certificate).raw.toString("base64")];
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const text = `${encode({ alg: "ES256", typ: "JWT", x5c })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}

import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestCertificate } from "./certificate.ts";
import { startServer } from "./process.ts";

/** Azurite, the emulator of Azure Blob Storage that is an npm package: blob service only, in a folder of its own. */

export interface AzuriteOptions {
  /** Serve https with this certificate. */
  readonly certificate?: TestCertificate;
  /** Take bearer tokens, whose claims are checked and whose signature is not; needs a certificate. */
  readonly oauth?: boolean;
}

export interface Azurite extends AsyncDisposable {
  readonly port: number;
  /** URL of the blob service, the account in its path. */
  readonly endpoint: string;
  readonly account: string;
  /** The account's key, base64. */
  readonly key: string;
  readonly connectionString: string;
  createContainer(name: string): Promise<void>;
  deleteContainer(name: string): Promise<void>;
  /** A SAS of the account for blobs, with permissions as in `rl`. */
  sasToken(permissions: string, options?: { readonly endsInMs?: number }): string;
  stop(): Promise<void>;
}

const ACCOUNT = "varvetest";
const KEY = Buffer.from("the key of an account that exists in tests only").toString("base64");

export async function startAzurite(options: AzuriteOptions = {}): Promise<Azurite> {
  const { certificate, oauth = false } = options;
  const folder = await mkdtemp(join(tmpdir(), "varve-azurite-"));
  const tlsArgs: string[] = [];
  if (certificate !== undefined) {
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    await writeFile(cert, certificate.certificate);
    await writeFile(key, certificate.key);
    tlsArgs.push("--cert", cert, "--key", key, ...(oauth ? ["--oauth", "basic"] : []));
  }
  const require = createRequire(import.meta.url);
  const program = require.resolve("azurite/dist/src/blob/main.js");
  const server = await startServer({
    command: process.execPath,
    args: (port) => [
      program,
      ...["--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", folder],
      ...["--silent", "--skipApiVersionCheck", "--disableTelemetry", ...tlsArgs],
    ],
    env: { AZURITE_ACCOUNTS: `${ACCOUNT}:${KEY}` },
    cwd: folder,
  });
  const stop = async (): Promise<void> => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const scheme = certificate === undefined ? "http" : "https";
  const endpoint = `${scheme}://127.0.0.1:${server.port}/${ACCOUNT}`;
  return {
    port: server.port,
    endpoint,
    account: ACCOUNT,
    key: KEY,
    connectionString: `DefaultEndpointsProtocol=${scheme};AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${endpoint};`,
    createContainer: (name) => changeContainer({ method: "PUT", name, endpoint, certificate }),
    deleteContainer: (name) => changeContainer({ method: "DELETE", name, endpoint, certificate }),
    sasToken,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const HOUR_MS = 3_600_000;

function sasToken(permissions: string, { endsInMs = HOUR_MS } = {}): string {
  const [starts = "", ends = ""] = [-2 * HOUR_MS, endsInMs].map((ms) =>
    new Date(Date.now() + ms).toISOString().replace(/\.\d+/, ""),
  );
  const version = "2019-12-12";
  const signed = [ACCOUNT, permissions, "b", "sco", starts, ends, "", "", version, ""].join("\n");
  const sig = createHmac("sha256", Buffer.from(KEY, "base64")).update(signed).digest("base64");
  const query = { sv: version, ss: "b", srt: "sco", sp: permissions, st: starts, se: ends, sig };
  return new URLSearchParams(query).toString();
}

/** One request signed by hand, so that no SDK is needed here. */
async function changeContainer(change: {
  readonly method: "PUT" | "DELETE";
  readonly name: string;
  readonly endpoint: string;
  readonly certificate: TestCertificate | undefined;
}): Promise<void> {
  const { method, name, endpoint, certificate } = change;
  const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-12-02" };
  const text = [
    `${method}${"\n".repeat(12)}`,
    ...Object.entries(headers).map(([header, value]) => `${header}:${value}\n`),
    `/${ACCOUNT}/${ACCOUNT}/${name}\nrestype:container`,
  ].join("");
  const signature = createHmac("sha256", Buffer.from(KEY, "base64")).update(text).digest("base64");
  const authorization = `SharedKey ${ACCOUNT}:${signature}`;
  const { request } = await (certificate === undefined
    ? import("node:http")
    : import("node:https"));
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const options = {
      method,
      agent: false, // a connection that was kept may have been closed meanwhile
      headers: { ...headers, authorization, "content-length": 0 },
      ...(certificate === undefined ? {} : { ca: certificate.certificate }),
    };
    request(`${endpoint}/${name}?restype=container`, options, (response) => {
      response.resume().once("end", () => resolve(response.statusCode));
    })
      .once("error", reject)
      .end();
  });
  if (status !== 201 && status !== 202) {
    throw new Error(`${method} container ${name}: status ${status}`);
  }
}

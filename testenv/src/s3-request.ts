import { createHash, createHmac } from "node:crypto";

/**
 * One signed request to an S3 server, for what a test prepares there (buckets, policies), so that the servers of
 * tests need no vendor's SDK. Signature version 4, path style, bodies in one piece.
 */

export interface S3Account {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

export interface S3Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** `/bucket/key`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Sends `request`; the answer's body. Rejects with it when the server refused. */
export async function s3Request(account: S3Account, request: S3Request): Promise<string> {
  const { method, path, query = {}, body = "" } = request;
  const url = new URL(path, account.endpoint);
  const search = Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort()
    .join("&");
  url.search = search;
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const headers: Record<string, string> = {
    ...request.headers,
    "content-md5": createHash("md5").update(body).digest("base64"),
    host: url.host,
    "x-amz-content-sha256": sha256(body),
    "x-amz-date": time,
  };
  const names = Object.keys(headers).sort();
  const canonical = [
    method,
    url.pathname,
    search,
    ...names.map((name) => `${name}:${headers[name]}`),
    "",
    names.join(";"),
    sha256(body),
  ].join("\n");
  const scope = `${time.slice(0, 8)}/${account.region}/s3/aws4_request`;
  const key = scope.split("/").reduce<string | Buffer>(hmac, `AWS4${account.secretAccessKey}`);
  const toSign = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical)].join("\n");
  const signature = hmac(key, toSign).toString("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=${account.accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  const { host: _, ...sent } = headers;
  const answer = await fetch(url, {
    method,
    headers: { ...sent, authorization },
    ...(body === "" ? {} : { body }),
  });
  const text = await answer.text();
  if (!answer.ok) {
    throw new Error(`${method} ${url.pathname}: ${answer.status} ${text}`);
  }
  return text;
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

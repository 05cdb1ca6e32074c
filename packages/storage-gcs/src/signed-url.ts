import { createHash } from "node:crypto";
import type { Authorizer } from "./credentials.ts";

/** URLs that carry a permission to read one object: Google's "V4 signing process", with an RSA key. */

export interface SignedUrlOptions {
  readonly endpoint: string;
  readonly bucket: string;
  readonly object: string;
  readonly seconds: number;
  readonly nowMs: number;
  readonly sign: Authorizer["sign"];
}

const ALGORITHM = "GOOG4-RSA-SHA256";

export async function signedUrl(options: SignedUrlOptions): Promise<string> {
  const { endpoint, bucket, object, seconds, nowMs, sign } = options;
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/auto/storage/goog4_request`;
  const url = new URL(endpoint);
  const path = `/${encode(bucket)}/${object.split("/").map(encode).join("/")}`;
  // In the order of the names, as they are signed.
  const queryFor = (email: string): string =>
    Object.entries({
      "X-Goog-Algorithm": ALGORITHM,
      "X-Goog-Credential": `${email}/${scope}`,
      "X-Goog-Date": time,
      "X-Goog-Expires": String(seconds),
      "X-Goog-SignedHeaders": "host",
    })
      .map(([name, value]) => `${name}=${encode(value)}`)
      .join("&");
  const { email, bytes } = await sign((signer) => {
    const query = queryFor(signer);
    const request = ["GET", path, query, `host:${url.host}`, "", "host", "UNSIGNED-PAYLOAD"];
    const digest = createHash("sha256").update(request.join("\n")).digest("hex");
    return [ALGORITHM, time, scope, digest].join("\n");
  });
  const signature = Buffer.from(bytes).toString("hex");
  return `${url.origin}${path}?${queryFor(email)}&X-Goog-Signature=${signature}`;
}

/** As `encodeURIComponent`, and the few letters besides that the service wants encoded. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createGunzip } from "node:zlib";
import { type DownloadRequest, VELERO } from "../velero/resources.ts";
import type { CliContext } from "./context.ts";

/** Files of a location, by a URL that the server signs: the operator needs no credentials of the bucket. */

const TIMEOUT_MS = 60_000;
const POLL_MS = 500;

export interface DownloadOptions {
  /** Of `DownloadRequest.spec.target`: `BackupLog`, `BackupContents`, … */
  readonly kind: string;
  readonly name: string;
  /** Takes the compression away. */
  readonly unpack: boolean;
  /** Default: standard output. */
  readonly file?: string | undefined;
}

/** Throws when the server does not answer within a minute, and when there is no such file. */
export async function download(context: CliContext, options: DownloadOptions): Promise<void> {
  const { name, kind, unpack, file } = options;
  const body = await open(name, await signedUrl(context, { kind, name }));
  const target: Writable =
    file === undefined ? process.stdout : createWriteStream(file, { flags: "wx", mode: 0o600 });
  const end = file !== undefined;
  await (unpack
    ? pipeline(body, createGunzip(), target, { end })
    : pipeline(body, target, { end }));
}

async function open(name: string, url: string): Promise<Readable> {
  if (url.startsWith("file:")) {
    const path = fileURLToPath(url);
    if (!existsSync(path)) {
      throw new Error(`the file of ${name} is not here: it is ${path} where the server runs`);
    }
    return createReadStream(path);
  }
  const response = await fetch(url);
  if (!response.ok || response.body === null) {
    throw new Error(`the file of ${name} cannot be read: HTTP ${response.status}`);
  }
  return Readable.fromWeb(response.body);
}

async function signedUrl(
  { kube, namespace, environment }: CliContext,
  { kind, name }: { readonly kind: string; readonly name: string },
): Promise<string> {
  const created = await kube.create(VELERO.downloadRequests, {
    apiVersion: "velero.io/v1",
    kind: "DownloadRequest",
    metadata: { name: "", generateName: `${name}-`, namespace },
    spec: { target: { kind, name } },
  });
  const where = { namespace, name: created.metadata.name };
  try {
    const deadlineMs = environment.nowMs() + TIMEOUT_MS;
    for (;;) {
      const { status } = (await kube.get(VELERO.downloadRequests, where)) as DownloadRequest; // its schema
      if ((status?.downloadURL ?? "") !== "") {
        return status?.downloadURL ?? "";
      }
      if (status?.phase === "Processed") {
        throw new Error(`the server has no such file of ${name}`);
      }
      if (environment.nowMs() >= deadlineMs) {
        throw new Error("the server has not answered within a minute: does it run?");
      }
      await environment.sleep(POLL_MS);
    }
  } finally {
    await kube.delete(VELERO.downloadRequests, where);
  }
}

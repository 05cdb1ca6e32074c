import { pipeline, Readable } from "node:stream";
import { createGunzip, createGzip } from "node:zlib";
import { VarveError } from "@varve/core";
import { extract, type Pack, pack } from "tar-stream";
import { encodeJson } from "../kube/go-json.ts";
import type { KubeObject, ResourceRef } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";

/** The objects of a backup as a compressed tar (semantics spec section 3.2). */

const FORMAT_VERSION = "1.1.0";

/** Where an object stands: at the plain path, and under the version that the server prefers. */
export function objectPaths(type: ResourceRef, object: KubeObject): readonly [string, string] {
  const { namespace, name } = object.metadata;
  const scope = type.namespaced ? `namespaces/${namespace ?? ""}` : "cluster";
  const folder = `resources/${groupResource(type)}`;
  return [
    `${folder}/${scope}/${name}.json`,
    `${folder}/${type.version}-preferredversion/${scope}/${name}.json`,
  ];
}

/** Compresses as it goes; the compressed bytes are held, a few for each object. */
export class TarballWriter {
  readonly #pack: Pack = pack();
  readonly #parts: Uint8Array[] = [];
  readonly #ended: Promise<void>;
  readonly #mtime: Date;
  #last: Promise<void> = Promise.resolve();

  constructor({ nowMs }: { readonly nowMs: number }) {
    this.#mtime = new Date(nowMs);
    const gzip = this.#pack.pipe(createGzip());
    gzip.on("data", (part: Uint8Array) => this.#parts.push(part));
    this.#ended = new Promise((resolve, reject) => {
      gzip.once("end", resolve).once("error", reject);
      this.#pack.once("error", reject);
    });
    this.#ended.catch(() => {}); // `close` tells
  }

  /** A new one begins with `metadata/version`. */
  async begin(): Promise<void> {
    await this.addFile("metadata/version", `${FORMAT_VERSION}\n`);
  }

  async addObject(type: ResourceRef, object: KubeObject): Promise<void> {
    const text = encodeJson(object);
    for (const path of objectPaths(type, object)) {
      await this.addFile(path, text);
    }
  }

  async addFile(name: string, content: string | Uint8Array): Promise<void> {
    const bytes = Buffer.from(content); // tar-stream's own type
    const header = { name, mode: 0o755, mtime: this.#mtime, uid: 0, gid: 0 };
    this.#last = this.#last.then(
      () =>
        new Promise<void>((resolve, reject) => {
          this.#pack.entry(header, bytes, (error) => (error ? reject(error) : resolve()));
        }),
    );
    await this.#last; // one entry at a time, whoever calls
  }

  /** Ends the archive and gives its bytes. */
  async close(): Promise<readonly Uint8Array[]> {
    this.#pack.finalize();
    await this.#ended;
    return this.#parts;
  }
}

/** Replaces objects of an archive where they stand, and adds those that are new. Throws `corrupt`. */
export async function rewriteTarball(
  archive: Uint8Array,
  changes: readonly { readonly type: ResourceRef; readonly object: KubeObject }[],
  { nowMs }: { readonly nowMs: number },
): Promise<readonly Uint8Array[]> {
  const changed = new Map(
    changes.flatMap(({ type, object }) => {
      const text = encodeJson(object);
      return objectPaths(type, object).map((path) => [path, text] as const);
    }),
  );
  const writer = new TarballWriter({ nowMs });
  try {
    const unpacked = extract();
    // Destroys all of them when one fails: `unpacked` then throws here.
    pipeline(Readable.from([archive]), createGunzip(), unpacked, () => {});
    for await (const entry of unpacked) {
      const parts: Uint8Array[] = [];
      for await (const part of entry) {
        parts.push(part as Uint8Array); // a byte stream
      }
      const text = changed.get(entry.header.name);
      changed.delete(entry.header.name);
      await writer.addFile(entry.header.name, text ?? Buffer.concat(parts));
    }
  } catch (error) {
    throw new VarveError("corrupt", "rewrite the archive of a backup: it cannot be read", {
      cause: error,
    });
  }
  for (const [path, text] of changed) {
    await writer.addFile(path, text);
  }
  return await writer.close();
}

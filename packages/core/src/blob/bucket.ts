import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { type BlobId, type BlobStore, parseBlobId } from "./store.ts";

/**
 * A bucket that holds more than one store: folders, each a flat set of blobs. For programs that keep several
 * repositories, or files of their own, side by side; a repository needs its {@link BlobStore} only. A folder is there
 * as long as it holds something. To be disposed after its stores.
 */
export interface Bucket extends AsyncDisposable {
  /** For people; no secrets. */
  readonly label: string;
  /**
   * The blobs right below `prefix`, which is empty or ends with a slash: not those in folders below it. Shares the
   * bucket's connections, which stay open when the store is disposed. Makes no request. Throws `invalid-argument`.
   */
  store(prefix: string): BlobStore;
  /** The names, without slashes, of the folders right below `prefix`; each once, any order. */
  folders(prefix: string, options?: CallOptions): AsyncIterable<string>;
  /**
   * Stores what `chunks` give under this whole name, replacing what is there, and keeps a few parts of it in memory at
   * most: for objects larger than blobs should be. Nothing is stored when `chunks` throw, which is thrown on. Whoever
   * gives the chunks does not change them any more. Nobody tries again. Throws `read-only`.
   */
  upload(name: string, chunks: AsyncIterable<Uint8Array>, options?: CallOptions): Promise<void>;
  /** A URL with which anyone can read the object of this whole name, for so many seconds. Throws `unsupported`. */
  readUrl(name: string, options: CallOptions & { readonly seconds: number }): Promise<string>;
}

/** The folder of an object, and its name there. Throws `invalid-argument`. */
export function splitName(name: string): { readonly folder: string; readonly id: BlobId } {
  const end = name.lastIndexOf("/") + 1;
  return { folder: checkFolder(name.slice(0, end)), id: parseBlobId(name.slice(end)) };
}

/** `prefix` as it is, when it names a folder of a bucket: empty, or names that each end with a slash. Throws `invalid-argument`. */
export function checkFolder(prefix: string): string {
  const names = prefix.split("/");
  const last = names.pop();
  if (last !== "" || names.some((name) => name === "" || name === "." || name === "..")) {
    const text = JSON.stringify(prefix.slice(0, 300));
    throw new VarveError("invalid-argument", `not a folder of a bucket: ${text}`);
  }
  return prefix;
}

import type { CallOptions } from "../base/environment.ts";
import type { BlobStore } from "./store.ts";

/**
 * A bucket that holds more than one store: folders, each a flat set of blobs. For programs that keep several
 * repositories, or files of their own, side by side; a repository needs its {@link BlobStore} only.
 */
export interface Bucket extends AsyncDisposable {
  /** For people; no secrets. */
  readonly label: string;
  /**
   * The blobs right below `prefix`, which is empty or ends with a slash: not those in folders below it. Shares the
   * bucket's connections, which stay open when the store is disposed. Makes no request.
   */
  store(prefix: string): BlobStore;
  /** The names, without slashes, of the folders right below `prefix`; each once, any order. */
  folders(prefix: string, options?: CallOptions): AsyncIterable<string>;
  /** A URL with which anyone can read the object of this whole name, for so many seconds. Throws `unsupported`. */
  readUrl(name: string, options: CallOptions & { readonly seconds: number }): Promise<string>;
}

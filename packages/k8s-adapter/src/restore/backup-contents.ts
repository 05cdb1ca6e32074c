import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { errorMessage, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { extract } from "tar-stream";
import { Spill, type SpillSlot } from "../backup/spill.ts";
import { decodeJson } from "../kube/go-json.ts";
import type { KubeObject } from "../kube/kube-api.ts";

/**
 * The objects of a backup's tarball (spec section 3.2). It is hostile: whatever does not look like an object at its place is
 * left out, sizes are bounded, and nothing is ever written under a name that stands in it.
 */

export interface StoredItem {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly slot: SpillSlot;
}

const MAX_OBJECT_BYTES = 32 << 20;
const MAX_TOTAL_BYTES = 16 * 2 ** 30;
const MAX_OBJECTS = 2_000_000;
/** `resources/<resource.group>/namespaces/<ns>/<name>.json`, or `/cluster/<name>.json`: not the copies in folders of versions. */
const PLAIN_PATH = /^resources\/([^/]+)\/(?:cluster|namespaces\/([^/]+))\/([^/]+)\.json$/;

export class BackupContents implements AsyncDisposable {
  readonly #spill: Spill;
  readonly #items = new Map<string, Map<string, StoredItem>>();
  /** What was left out, and why. */
  readonly problems: string[] = [];

  private constructor(spill: Spill) {
    this.#spill = spill;
  }

  /** Throws `blob-not-found`, `corrupt`. Dispose it. */
  static async read(
    store: BlobStore,
    backup: string,
    options: CallOptions,
  ): Promise<BackupContents> {
    const bytes = await store.get(parseBlobId(`${backup}.tar.gz`), options);
    const contents = new BackupContents(await Spill.create());
    try {
      await contents.#fill(bytes, options);
      return contents;
    } catch (error) {
      await contents[Symbol.asyncDispose]();
      options.signal?.throwIfAborted();
      throw error instanceof VarveError
        ? error
        : new VarveError("corrupt", `tarball of ${backup}: ${errorMessage(error)}`, {
            cause: error,
          });
    }
  }

  /** `resource` or `resource.group`, as the folders are named. */
  get groupResources(): string[] {
    return [...this.#items.keys()];
  }

  items(groupResource: string): StoredItem[] {
    return [...(this.#items.get(groupResource)?.values() ?? [])];
  }

  find(groupResource: string, namespace: string | undefined, name: string): StoredItem | undefined {
    return this.#items.get(groupResource)?.get(keyOf(namespace, name));
  }

  async object({ slot }: StoredItem): Promise<KubeObject> {
    return await this.#spill.read(slot);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spill[Symbol.asyncDispose]();
  }

  async #fill(bytes: Uint8Array, { signal }: CallOptions): Promise<void> {
    const unpacked = createGunzip();
    const entries = extract();
    const reading = Readable.from([bytes]).pipe(unpacked);
    reading.on("error", (error) => entries.destroy(error));
    reading.pipe(entries);
    let total = 0;
    let count = 0;
    for await (const entry of entries) {
      signal?.throwIfAborted();
      const { name: path, size, type } = entry.header;
      total += size;
      count++;
      if (total > MAX_TOTAL_BYTES || count > MAX_OBJECTS) {
        throw new VarveError("corrupt", "the tarball holds more than a backup can");
      }
      const match = type === "file" ? PLAIN_PATH.exec(path) : null;
      if (match === null || size > MAX_OBJECT_BYTES) {
        entry.resume();
        continue;
      }
      const chunks: Uint8Array[] = [];
      for await (const chunk of entry) {
        chunks.push(chunk as Uint8Array); // a tar has no encoding
      }
      const [, groupResource = "", namespace, name = ""] = match;
      await this.#add(Buffer.concat(chunks).toString("utf8"), {
        path,
        groupResource,
        namespace,
        name,
      });
    }
  }

  async #add(
    text: string,
    place: {
      readonly path: string;
      readonly groupResource: string;
      readonly namespace: string | undefined;
      readonly name: string;
    },
  ): Promise<void> {
    const { path, groupResource, namespace, name } = place;
    const object = parseObject(text);
    const { metadata } = object ?? {};
    if (object === undefined || metadata?.name !== name || metadata.namespace !== namespace) {
      this.problems.push(`${path} holds no object of that name`);
      return;
    }
    const items = this.#items.get(groupResource) ?? new Map<string, StoredItem>();
    items.set(keyOf(namespace, name), { namespace, name, slot: await this.#spill.add(object) });
    this.#items.set(groupResource, items);
  }
}

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ""}/${name}`;
}

/** Undefined when it does not have what every object has. */
function parseObject(text: string): KubeObject | undefined {
  try {
    const value = decodeJson(text) as Partial<KubeObject> | null; // looked at here
    const { apiVersion, kind, metadata } = value ?? {};
    const isObject =
      typeof apiVersion === "string" && typeof kind === "string" && typeof metadata === "object";
    return isObject ? (value as KubeObject) : undefined;
  } catch {
    return undefined;
  }
}

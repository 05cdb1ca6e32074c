import type { ContentId } from "../index/content-id.ts";

/** Decoded contents, least recently used dropped first; never more than `capacity` bytes. */
export class ContentCache {
  readonly #capacity: number;
  readonly #contents = new Map<ContentId, Uint8Array>();
  #size = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(id: ContentId): Uint8Array | undefined {
    const data = this.#contents.get(id);
    if (data !== undefined) {
      this.#contents.delete(id); // a Map iterates in the order of insertion: put it last
      this.#contents.set(id, data);
    }
    return data;
  }

  /** Keeps `data`. */
  set(id: ContentId, data: Uint8Array): void {
    if (this.#contents.has(id) || data.length > this.#capacity) {
      return;
    }
    this.#contents.set(id, data);
    this.#size += data.length;
    for (const [oldest, dropped] of this.#contents) {
      if (this.#size <= this.#capacity) {
        return;
      }
      this.#contents.delete(oldest);
      this.#size -= dropped.length;
    }
  }
}

import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJson, encodeJson } from "../kube/go-json.ts";
import type { KubeObject } from "../kube/kube-api.ts";

/** Where an object lies in a {@link Spill}. */
export interface SpillSlot {
  readonly offset: number;
  readonly length: number;
}

const BUFFER_BYTES = 1 << 20;

/** Objects that a backup has listed and not stored yet, in a file of this machine: memory does not grow with the cluster. */
export class Spill implements AsyncDisposable {
  readonly #folder: string;
  readonly #file: FileHandle;
  #size = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  private constructor(folder: string, file: FileHandle) {
    this.#folder = folder;
    this.#file = file;
  }

  static async create(): Promise<Spill> {
    const folder = await mkdtemp(join(tmpdir(), "varve-backup-"));
    return new Spill(folder, await open(join(folder, "objects"), "wx+", 0o600));
  }

  async add(object: KubeObject): Promise<SpillSlot> {
    const bytes = new TextEncoder().encode(encodeJson(object));
    const slot = { offset: this.#size, length: bytes.length };
    this.#size += bytes.length;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= BUFFER_BYTES) {
      await this.#flush();
    }
    return slot;
  }

  async read({ offset, length }: SpillSlot): Promise<KubeObject> {
    await this.#flush();
    const bytes = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) {
        throw new Error("the file of listed objects is shorter than what was written to it");
      }
      done += bytesRead;
    }
    return decodeJson(bytes.toString("utf8")) as KubeObject; // what `add` wrote
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #flush(): Promise<void> {
    if (this.#pending.length === 0) {
      return;
    }
    const bytes = Buffer.concat(this.#pending);
    const position = this.#size - this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    await this.#file.writev([bytes], position);
  }
}

import { Worker } from "node:worker_threads";
import type { PackedListing } from "./packed-listing.ts";

// What it makes is short-lived and handed over: a nursery of the usual size would only cost memory.
const LIMITS = { maxYoungGenerationSizeMb: 2 };
/** Directories that are asked for and not walked yet. */
const SLOTS = 256;
/** Behind the slots: not 0 while the walk waits for a listing. */
export const WAITING: number = SLOTS;
/** While the thread has enough to do, so many are sent at once: waking it costs as much as a look at several files. */
const SEND_AT_ONCE = 16;
/** Sum of their sizes as files; a listing takes up to five times as much. */
const MAX_ASKED_BYTES = 2 * 1024 * 1024;
/** A thread takes as long to start as so many entries to look at. */
const WORTH_A_THREAD = 2000;

/** One directory that the thread may list: `slot` of the shared claims holds `id` until somebody has taken it. */
export interface ListRequest {
  readonly id: number;
  readonly slot: number;
  readonly path: string;
}

/** Nothing for what the walk has to look at by itself. */
export interface FoundListing {
  readonly id: number;
  readonly listing: PackedListing | undefined;
}

interface Asked extends ListRequest {
  readonly bytes: number;
  readonly listing: Promise<PackedListing | undefined>;
  readonly resolve: (listing: PackedListing | undefined) => void;
}

/**
 * A thread that lists directories before the walk comes to them: a look at each of many files is what a backup of an
 * unchanged tree mostly does. Walk and thread share the work: what the thread has not begun when the walk comes there, the walk
 * lists by itself. Started once the walk has seen a few thousand entries; whatever goes wrong with it, the walk lists all.
 */
export class ListThread implements Disposable {
  readonly #workerUrl: URL;
  readonly #claims = new Int32Array(new SharedArrayBuffer((SLOTS + 1) * 4));
  readonly #freeSlots: number[] = Array.from({ length: SLOTS }, (_, slot) => slot);
  readonly #asked = new Map<number, Asked>();
  #unsent: ListRequest[] = [];
  /** What the thread will come to last of all that was sent. */
  #lastSent: ListRequest | undefined;
  #askedBytes = 0;
  #seen = 0;
  #worker: Worker | undefined;
  #lastId = 0;
  #isGone = false;

  /** `workerUrl`: the compiled `local-list-worker`, when it does not lie beside this module. */
  constructor(workerUrl: URL = new URL("./local-list-worker.js", import.meta.url)) {
    this.#workerUrl = workerUrl;
  }

  /** The walk has listed so many entries by itself. */
  saw(entries: number): void {
    this.#seen += entries;
  }

  /** The id to {@link take} the listing by; nothing when the walk has to look for itself. `bytes` is the directory's own size. */
  ask(path: string, bytes: number): number | undefined {
    const isFull = this.#asked.size > 0 && this.#askedBytes + bytes > MAX_ASKED_BYTES;
    if (this.#isGone || isFull || (this.#seen < WORTH_A_THREAD && bytes < MAX_ASKED_BYTES / 64)) {
      return undefined;
    }
    const slot = this.#freeSlots.pop();
    if (slot === undefined) {
      return undefined;
    }
    this.#lastId = (this.#lastId % 0x7fff_ffff) + 1;
    const id = this.#lastId;
    let resolve: Asked["resolve"] = () => {};
    const listing = new Promise<PackedListing | undefined>((settle) => {
      resolve = settle;
    });
    this.#asked.set(id, { id, slot, path, bytes, listing, resolve });
    this.#askedBytes += bytes;
    Atomics.store(this.#claims, slot, id);
    this.#unsent.push({ id, slot, path });
    return id;
  }

  /** Lets the thread have what was asked for: once for many, unless it will soon have nothing to do, or `now`. */
  send({ now = false }: { readonly now?: boolean } = {}): void {
    const count = this.#unsent.length;
    if (count === 0 || (!now && count < SEND_AT_ONCE && this.#isBusy())) {
      return;
    }
    if (!this.#isGone) {
      this.#worker ??= this.#start();
      this.#worker.postMessage(this.#unsent, []);
      this.#lastSent = this.#unsent[0];
    }
    this.#unsent = [];
  }

  #isBusy(): boolean {
    const last = this.#lastSent;
    return last !== undefined && Atomics.load(this.#claims, last.slot) === last.id;
  }

  /** What the thread has found; nothing when the walk has to look for itself. With `wait`, also when the thread has not begun. */
  async take(
    id: number,
    { wait = false }: { readonly wait?: boolean } = {},
  ): Promise<PackedListing | undefined> {
    const asked = this.#asked.get(id);
    if (asked === undefined || (!wait && claimed(this.#claims, asked.slot, id))) {
      this.#forget(id);
      return undefined;
    }
    Atomics.store(this.#claims, WAITING, 1);
    const listing = await asked.listing;
    Atomics.store(this.#claims, WAITING, 0);
    this.#forget(id);
    return listing;
  }

  [Symbol.dispose](): void {
    this.#giveUp();
    // Nothing is lost with it, and nothing can be done when it does not end.
    this.#worker?.terminate().catch(() => {});
  }

  #forget(id: number): void {
    const asked = this.#asked.get(id);
    if (asked !== undefined) {
      this.#asked.delete(id);
      this.#askedBytes -= asked.bytes;
      this.#freeSlots.push(asked.slot);
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#workerUrl, {
      resourceLimits: LIMITS,
      workerData: this.#claims.buffer,
    });
    worker.unref();
    worker.on("message", (found: readonly FoundListing[]) => {
      for (const { id, listing } of found) {
        this.#asked.get(id)?.resolve(listing);
      }
    });
    worker.on("error", () => this.#giveUp());
    worker.on("exit", () => this.#giveUp());
    return worker;
  }

  #giveUp(): void {
    this.#isGone = true;
    for (const { resolve } of this.#asked.values()) {
      resolve(undefined);
    }
  }
}

/** Whether the directory is the caller's now: of walk and thread only one is told so. */
export function claimed(claims: Int32Array, slot: number, id: number): boolean {
  return Atomics.compareExchange(claims, slot, id, 0) === id;
}

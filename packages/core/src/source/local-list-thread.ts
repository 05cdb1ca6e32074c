import { Worker } from "node:worker_threads";
import type { PackedListing } from "./local-listing.ts";

// What it makes is short-lived and handed over: a nursery of the usual size would only cost memory.
const LIMITS = { maxYoungGenerationSizeMb: 2 };

/**
 * A thread that lists directories before the walk comes to them: a look at each of many files is what a backup of an
 * unchanged tree mostly does. Started for the first directory; whatever goes wrong with it, the walk lists by itself.
 */
export class ListThread implements Disposable {
  readonly #workerUrl: URL;
  readonly #waiting = new Map<number, (listing: PackedListing | undefined) => void>();
  #worker: Worker | undefined;
  #count = 0;
  #isGone = false;

  /** `workerUrl`: the compiled `local-list-worker`, when it does not lie beside this module. */
  constructor(workerUrl: URL = new URL("./local-list-worker.js", import.meta.url)) {
    this.#workerUrl = workerUrl;
  }

  /** Nothing when the walk has to look for itself. */
  list(path: string): Promise<PackedListing | undefined> {
    if (this.#isGone) {
      return Promise.resolve(undefined);
    }
    this.#worker ??= this.#start();
    const id = this.#count++;
    const listing = new Promise<PackedListing | undefined>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#worker.postMessage({ id, path }, []);
    return listing;
  }

  [Symbol.dispose](): void {
    this.#giveUp();
    // Nothing is lost with it, and nothing can be done when it does not end.
    this.#worker?.terminate().catch(() => {});
  }

  #start(): Worker {
    const worker = new Worker(this.#workerUrl, { resourceLimits: LIMITS });
    worker.unref();
    worker.on("message", ({ id, listing }: { id: number; listing?: PackedListing }) => {
      this.#waiting.get(id)?.(listing);
      this.#waiting.delete(id);
    });
    worker.on("error", () => this.#giveUp());
    worker.on("exit", () => this.#giveUp());
    return worker;
  }

  #giveUp(): void {
    this.#isGone = true;
    for (const resolve of this.#waiting.values()) {
      resolve(undefined);
    }
    this.#waiting.clear();
  }
}

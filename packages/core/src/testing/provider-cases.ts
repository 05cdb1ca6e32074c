import type { Environment } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import type { BlobStoreCase, BlobStoreCasesOptions } from "./blob-store-cases.ts";
import { check, checkBytes } from "./checks.ts";

/**
 * What takes a real clock to see of a store, besides {@link blobStoreCases}: that its time is right, and that blobs are
 * there for everybody as soon as a put has returned, under load, through several connections (spec §6.5).
 */

export interface ProviderCasesOptions extends BlobStoreCasesOptions {
  readonly environment: Environment;
  /** Stores that are opened for the test under load, default 5. */
  readonly connections?: number | undefined;
  /** How long the test under load takes, default 30 s. */
  readonly durationMs?: number | undefined;
  /** Each default 3. */
  readonly putWorkers?: number | undefined;
  readonly getWorkers?: number | undefined;
  readonly statWorkers?: number | undefined;
}

const MAX_CLOCK_DIFFERENCE_MS = 3 * 60_000;
const MAX_BLOB_BYTES = 1024 * 1024;
const MAX_PAUSE_MS = 100;
/** So that the space that is taken has a bound. */
const MAX_BLOBS = 64;

export function providerCases(options: ProviderCasesOptions): readonly BlobStoreCase[] {
  const id = (rest: string): BlobId => parseBlobId(`${options.prefix ?? "zz"}p${rest}`);
  return [
    {
      name: "the time of a new blob is that of this machine, give or take 3 minutes",
      run: async () => {
        await using store = await options.open();
        try {
          await store.put(id("clock"), []);
          const { mtimeMs } = await store.stat(id("clock"));
          const difference = mtimeMs - options.environment.nowMs();
          check(
            Math.abs(difference) <= MAX_CLOCK_DIFFERENCE_MS,
            `the clocks differ by ${Math.round(difference / 1000)} s`,
          );
        } finally {
          await store.delete(id("clock"));
        }
      },
    },
    {
      name: "a blob whose put has returned is there through every connection, while many write and read",
      run: () => runUnderLoad(options, id),
    },
  ];
}

async function runUnderLoad(
  options: ProviderCasesOptions,
  id: (rest: string) => BlobId,
): Promise<void> {
  const { connections = 5, durationMs = 30_000, environment } = options;
  const stores: BlobStore[] = [];
  const load = new Load(stores, environment, id);
  try {
    for (let index = 0; index < connections; index++) {
      stores.push(await options.open());
    }
    await load.run(environment.nowMs() + durationMs, options);
  } finally {
    await load.cleanUp();
    for (const store of stores) {
      await store[Symbol.asyncDispose]();
    }
  }
}

class Load {
  readonly #stores: readonly BlobStore[];
  readonly #environment: Environment;
  readonly #id: (rest: string) => BlobId;
  /** By the number of the blob; `false` while its put has not returned. */
  readonly #isStored = new Map<number, boolean>();
  #failed = false;

  constructor(
    stores: readonly BlobStore[],
    environment: Environment,
    id: (rest: string) => BlobId,
  ) {
    this.#stores = stores;
    this.#environment = environment;
    this.#id = id;
  }

  async run(untilMs: number, workers: ProviderCasesOptions): Promise<void> {
    const repeat = async (step: (store: BlobStore) => Promise<void>): Promise<void> => {
      do {
        try {
          await step(this.#store());
        } catch (error) {
          this.#failed = true;
          throw error;
        }
        await this.#environment.sleep(this.#random(MAX_PAUSE_MS));
      } while (!this.#failed && this.#environment.nowMs() < untilMs);
    };
    const { putWorkers = 3, getWorkers = 3, statWorkers = 3 } = workers;
    const running = [
      ...Array.from({ length: putWorkers }, () => repeat((store) => this.#put(store))),
      ...Array.from({ length: getWorkers }, () => repeat((store) => this.#get(store))),
      ...Array.from({ length: statWorkers }, () => repeat((store) => this.#stat(store))),
    ];
    await Promise.allSettled(running);
    await Promise.all(running);
  }

  async cleanUp(): Promise<void> {
    for (const number of this.#isStored.keys()) {
      await this.#store().delete(this.#id(String(number)));
    }
  }

  async #put(store: BlobStore): Promise<void> {
    const number = this.#isStored.size;
    if (number < MAX_BLOBS) {
      this.#isStored.set(number, false);
      await store.put(this.#id(String(number)), [bytesOf(number)]);
      this.#isStored.set(number, true);
    }
  }

  async #get(store: BlobStore): Promise<void> {
    await this.#whole(async (number, id) => {
      checkBytes(await store.get(id), bytesOf(number), `get ${id}`);
    });
  }

  async #stat(store: BlobStore): Promise<void> {
    await this.#whole(async (number, id) => {
      const { size } = await store.stat(id);
      check(size === sizeOf(number), `stat ${id} tells ${size} bytes of ${sizeOf(number)}`);
    });
  }

  /** `read` must find a blob whose put had returned before; of others it may say that they are missing. */
  async #whole(read: (number: number, id: BlobId) => Promise<void>): Promise<void> {
    const number = this.#random(this.#isStored.size);
    const wasStored = this.#isStored.get(number);
    if (wasStored !== undefined) {
      try {
        await read(number, this.#id(String(number)));
      } catch (error) {
        if (wasStored || !isVarveError(error, "blob-not-found")) {
          throw error;
        }
      }
    }
  }

  #store(): BlobStore {
    const store = this.#stores[this.#random(this.#stores.length)];
    check(store !== undefined, "there is a connection");
    return store;
  }

  #random(below: number): number {
    const [low = 0, high = 0] = this.#environment.randomBytes(2);
    return Math.floor(((high * 256 + low) / 65_536) * below);
  }
}

function sizeOf(number: number): number {
  return (number * 7919 * 31) % MAX_BLOB_BYTES;
}

function bytesOf(number: number): Uint8Array {
  return new Uint8Array(sizeOf(number)).fill(number + 1);
}

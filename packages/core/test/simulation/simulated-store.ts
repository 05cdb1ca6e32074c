import { isVarveError, VarveError } from "../../src/base/errors.ts";
import type { BlobInfo, BlobStore } from "../../src/blob/store.ts";
import type { World } from "./world.ts";

/** How often things go wrong in calls to storage; each a probability. */
export interface StorageFaults {
  /** The call fails and has done nothing. */
  readonly lost: number;
  /** The call has done its work, and fails all the same. */
  readonly halfAcknowledged: number;
  /** The call takes minutes, not milliseconds. */
  readonly slow: number;
}

export const NO_FAULTS: StorageFaults = { lost: 0, halfAcknowledged: 0, slow: 0 };

/** One client's connection: a client that is dead stays where it is, waiting for ever. */
export class Connection {
  #calls = 0;
  #diesAt = Number.POSITIVE_INFINITY;
  #onDeath: () => void = () => {};

  /** Resolves when the client dies; pending calls never end. */
  dieAfter(calls: number): Promise<void> {
    this.#diesAt = this.#calls + calls;
    return new Promise((resolve) => {
      this.#onDeath = resolve;
    });
  }

  live(): void {
    this.#diesAt = Number.POSITIVE_INFINITY;
  }

  /** Before a call, and again after its work is done: then the work is there, and nobody knows. */
  async pass(): Promise<void> {
    this.#calls += 1;
    if (this.#calls >= this.#diesAt) {
      this.#onDeath();
      await new Promise(() => {});
    }
  }
}

const PAGE = 4;
const MINUTE_MS = 60_000;

/** `store` as one client sees it: far away, and not always well. Listings come in pages, while others go on writing. */
export function simulatedStore(
  store: BlobStore,
  options: { world: World; connection: Connection; faults: StorageFaults },
): BlobStore {
  const { world, connection, faults } = options;
  const { chance } = world;
  const latency = (): Promise<void> =>
    world.sleep(
      chance.happens(faults.slow) ? chance.between(1, 15) * MINUTE_MS : chance.between(1, 400),
    );

  const call = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    await connection.pass();
    await latency();
    if (chance.happens(faults.lost)) {
      throw fault(what);
    }
    const outcome = await settle(work);
    world.note(`${world.nowMs} ${what}`);
    await connection.pass();
    await latency();
    if (chance.happens(faults.halfAcknowledged)) {
      throw fault(what);
    }
    if ("error" in outcome) {
      throw outcome.error;
    }
    return outcome.value;
  };

  async function* list(prefix: string): AsyncGenerator<BlobInfo> {
    let after = "";
    for (;;) {
      const page = await call(`list ${prefix}`, () => pageOf(store, { prefix, after }));
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) {
        return;
      }
      after = last.id;
    }
  }

  return {
    label: "a simulated store",
    features: store.features,
    get: (id, getOptions) => call(`get ${id}`, () => store.get(id, getOptions)),
    put: (id, parts, putOptions) => {
      const copies = parts.map((part) => part.slice()); // the caller's again as soon as it likes
      return call(`put ${id}`, () => store.put(id, copies, putOptions));
    },
    stat: (id, statOptions) => call(`stat ${id}`, () => store.stat(id, statOptions)),
    list,
    delete: (id, deleteOptions) => call(`delete ${id}`, () => store.delete(id, deleteOptions)),
    extendRetention: (id, retention) => store.extendRetention(id, retention),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function pageOf(
  store: BlobStore,
  { prefix, after }: { prefix: string; after: string },
): Promise<BlobInfo[]> {
  const all: BlobInfo[] = [];
  for await (const info of store.list(prefix)) {
    if (info.id > after) {
      all.push(info);
    }
  }
  return all.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, PAGE);
}

async function settle<T>(work: () => Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error };
  }
}

const FAULT = "simulated fault";

function fault(what: string): VarveError {
  return new VarveError("storage-failed", `${FAULT}: ${what}`);
}

/** Whether an error is one that this store has made. */
export function isSimulatedFault(error: unknown): boolean {
  return isVarveError(error, "storage-failed") && error.message.includes(FAULT);
}

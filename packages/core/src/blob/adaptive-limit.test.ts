import { expect, test } from "vitest";
import { simulatedClock } from "../../test/simulated-clock.ts";
import type { Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { mulberry32 } from "../testing/seeded-environment.ts";
import { AdaptiveLimit } from "./adaptive-limit.ts";
import { adaptiveStore } from "./adaptive-store.ts";
import { createMemoryStore } from "./memory-store.ts";
import { passThrough } from "./pass-through.ts";
import { parseBlobId } from "./store.ts";

const MB = 1_000_000;

/** Storage that answers after 50 ms as long as no more than `wide()` calls are under way, and that much slower beyond. */
class Service {
  underWay = 0;
  most = 0;
  done = 0;
  refused = 0;
  readonly #environment: Environment;
  readonly #wide: () => number;
  readonly #refuseAbove: () => number;

  constructor(
    environment: Environment,
    options: { wide?: () => number; refuseAbove?: () => number },
  ) {
    this.#environment = environment;
    this.#wide = options.wide ?? (() => Number.POSITIVE_INFINITY);
    this.#refuseAbove = options.refuseAbove ?? (() => Number.POSITIVE_INFINITY);
  }

  async call(): Promise<void> {
    this.underWay++;
    this.most = Math.max(this.most, this.underWay);
    try {
      const refused = this.underWay > this.#refuseAbove();
      await this.#environment.sleep(50 * Math.max(1, this.underWay / this.#wide()));
      if (refused) {
        this.refused++;
        throw new VarveError("storage-failed", "slow down", { retryable: true });
      }
      this.done++;
    } finally {
      this.underWay--;
    }
  }
}

/** `callers` ask again and again until `forMs` have passed; gives the limits that were seen on the way. */
async function ask(
  service: Service,
  limit: AdaptiveLimit,
  options: { environment: Environment; callers: number; forMs: number },
): Promise<number[]> {
  const { environment, callers, forMs } = options;
  const untilMs = environment.nowMs() + forMs;
  const limits: number[] = [];
  const caller = async (): Promise<void> => {
    while (environment.nowMs() < untilMs) {
      await limit.run(() => service.call(), { bytesOf: () => MB }).catch(() => {});
      limits.push(limit.limit);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return limits;
}

test("grows to its bound while storage gives more for it", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 4, max: 32 });
  const service = new Service(environment, {});
  const limits = await ask(service, limit, { environment, callers: 64, forMs: 10_000 });
  expect(service.most).toBe(32);
  expect(limits.filter((at) => at === 32).length / limits.length).toBeGreaterThan(0.8);
});

test("stops where storage gives no more, and goes down when it gives less", async () => {
  const { environment } = simulatedClock();
  let wide = 12;
  const limit = new AdaptiveLimit({ environment, start: 4, max: 64 });
  const service = new Service(environment, { wide: () => wide });
  await ask(service, limit, { environment, callers: 80, forMs: 20_000 });
  expect(limit.limit).toBeGreaterThanOrEqual(10);
  expect(limit.limit).toBeLessThanOrEqual(18);

  wide = 3;
  await ask(service, limit, { environment, callers: 80, forMs: 60_000 });
  expect(limit.limit).toBeLessThanOrEqual(9);

  wide = 12;
  await ask(service, limit, { environment, callers: 80, forMs: 60_000 });
  expect(limit.limit).toBeGreaterThanOrEqual(10);
});

test("large and small calls in any mixture, some of them slow, keep as many at once as before", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 8, max: 32 });
  const next = mulberry32(1);
  const random = (): number => next() / 2 ** 32;
  const limits: number[] = [];
  for (const smallOnes of [0, 0.9, 1, 0.5, 0.95]) {
    const untilMs = environment.nowMs() + 10_000;
    const caller = async (): Promise<void> => {
      while (environment.nowMs() < untilMs) {
        const bytes = random() < smallOnes ? 20_000 * (1 + random()) : 4 * MB;
        const ms = (50 + bytes / 20_000) * (0.7 + 0.6 * random());
        await limit.run(() => environment.sleep(ms), { bytesOf: () => bytes });
        limits.push(limit.limit);
      }
    };
    await Promise.all(Array.from({ length: 64 }, caller));
  }
  expect(limits.filter((at) => at >= 20).length / limits.length).toBeGreaterThan(0.9);
});

test("halves once for all the calls that were refused together, and few are refused later", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 16, max: 64 });
  const service = new Service(environment, { refuseAbove: () => 10 });
  const limits = await ask(service, limit, { environment, callers: 20, forMs: 50 });
  expect(Math.min(...limits)).toBe(8);
  await ask(service, limit, { environment, callers: 80, forMs: 60_000 });
  expect(service.refused).toBeLessThan(service.done / 50);
  expect(service.done).toBeGreaterThan((60_000 / 50) * 5);
});

test("who does not ask for more at once learns nothing", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 4, max: 32 });
  await ask(new Service(environment, {}), limit, { environment, callers: 3, forMs: 5_000 });
  expect(limit.limit).toBe(4);
});

test("the same calls on the same clock lead to the same limits", async () => {
  const run = async (): Promise<number[]> => {
    const { environment } = simulatedClock();
    const limit = new AdaptiveLimit({ environment, start: 4, max: 64 });
    const service = new Service(environment, { wide: () => 20, refuseAbove: () => 30 });
    return await ask(service, limit, { environment, callers: 50, forMs: 5_000 });
  };
  expect(await run()).toEqual(await run());
});

test("an error that will not pass changes nothing, and frees its place", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 1, max: 4 });
  const missing = new VarveError("blob-not-found", "no such blob");
  for (let count = 0; count < 3; count++) {
    await expect(limit.run(() => Promise.reject(missing), { bytesOf: () => 0 })).rejects.toBe(
      missing,
    );
  }
  expect(limit.limit).toBe(1);
});

test("who gives up waiting leaves the queue", async () => {
  const { environment } = simulatedClock();
  const limit = new AdaptiveLimit({ environment, start: 1, max: 1 });
  let end = (): void => {};
  const first = limit.run(() => new Promise<void>((resolve) => (end = resolve)), {
    bytesOf: () => 0,
  });
  const abort = new AbortController();
  const second = limit.run(async () => {}, { bytesOf: () => 0, signal: abort.signal });
  abort.abort(new Error("enough"));
  await expect(second).rejects.toThrow("enough");
  end();
  await first;
  await limit.run(async () => {}, { bytesOf: () => 0 });
});

test("a store tells how many puts pay now, and reads do not take their places", async () => {
  const { environment } = simulatedClock();
  const memory = createMemoryStore();
  let reads = 0;
  let mostReads = 0;
  const slow = {
    ...passThrough(memory),
    get: async () => {
      mostReads = Math.max(mostReads, ++reads);
      await environment.sleep(50);
      reads--;
      return new Uint8Array(10);
    },
    put: async () => {
      await environment.sleep(50);
      throw new VarveError("storage-failed", "slow down", { retryable: true });
    },
  };
  const store = adaptiveStore(slow, { environment, maxReads: 12 });
  expect(store.parallelPuts?.()).toBe(4);
  const id = parseBlobId("a");
  await Promise.all(Array.from({ length: 200 }, () => store.get(id)));
  expect(mostReads).toBe(12);
  await expect(store.put(id, [])).rejects.toThrow("slow down");
  expect(store.parallelPuts?.()).toBe(2);
});

test("a store that knows how many puts pay is left as it is", () => {
  const store = { ...createMemoryStore(), parallelPuts: (): number => 2 };
  expect(adaptiveStore(store, { environment: simulatedClock().environment })).toBe(store);
});

import { seededEnvironment } from "@varve/core/testing";
import { expect, test } from "vitest";
import { WorkQueue } from "./work-queue.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a key waits once, never runs twice at a time, and runs again when it came meanwhile", async () => {
  const stop = new AbortController();
  const log: string[] = [];
  const gates: (() => void)[] = [];
  const queue = new WorkQueue(seededEnvironment({ seed: 1 }), async (key) => {
    log.push(key);
    await new Promise<void>((resolve) => gates.push(resolve));
  });
  const run = queue.run({ workers: 2, signal: stop.signal });
  for (const key of ["a", "a", "b", "c"]) {
    queue.add(key);
  }
  await turn();
  expect(log).toEqual(["a", "b"]);
  queue.add("a");
  gates[0]?.();
  await turn();
  expect(log).toEqual(["a", "b", "c"]);
  gates[1]?.();
  gates[2]?.();
  await turn();
  expect(log).toEqual(["a", "b", "c", "a"]);
  stop.abort();
  gates[3]?.();
  await run;
});

test("a call that throws is made again, later and later, and one that asks for it too", async () => {
  const stop = new AbortController();
  const waits: number[] = [];
  const environment = {
    ...seededEnvironment({ seed: 1 }),
    sleep: async (ms: number) => {
      waits.push(ms);
      await turn();
    },
  };
  let calls = 0;
  const queue = new WorkQueue(environment, async () => {
    calls++;
    if (calls <= 3) {
      throw new Error("not yet");
    }
    if (calls === 5) {
      stop.abort();
    }
    return { againMs: 7 };
  });
  queue.add("a");
  await queue.run({ workers: 1, signal: stop.signal });
  expect(waits).toEqual([500, 1000, 2000, 7, 7]);
});

test("of several wishes to be called again the last one counts, so that waits do not pile up", async () => {
  const stop = new AbortController();
  let waiting = 0;
  const environment = {
    ...seededEnvironment({ seed: 1 }),
    sleep: async (_ms: number, { signal }: { signal?: AbortSignal | undefined } = {}) => {
      waiting++;
      await new Promise<void>((_, reject) => {
        signal?.addEventListener("abort", () => {
          waiting--;
          reject(new Error("stopped"));
        });
      });
    },
  };
  const queue = new WorkQueue(environment, async () => ({ againMs: 60_000 }));
  const run = queue.run({ workers: 1, signal: stop.signal });
  for (let count = 0; count < 10; count++) {
    queue.add("a");
    await turn();
  }
  expect(waiting).toBe(1);
  queue.forget("a");
  expect(waiting).toBe(0);
  stop.abort();
  await run;
});

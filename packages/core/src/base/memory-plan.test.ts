import { describe, expect, test } from "vitest";
import { fixedBytes, MIN_INDEX_BYTES, planMemory, RUNTIME_BYTES } from "./memory-plan.ts";
import { VarveError } from "./errors.ts";

const MIB = 1024 * 1024;
const PACK = 21 * MIB;

describe("memory plan", () => {
  for (const limitMib of [280, 320, 384, 512, 768, 1024, 2048, 16_384]) {
    for (const workers of [0, 1, 3, 63]) {
      for (const packSizeBytes of [PACK, 10 * MIB]) {
        test(`${limitMib} MiB, ${workers} workers, packs of ${packSizeBytes}: the parts add up to no more`, () => {
          const limitBytes = limitMib * MIB;
          const plan = planMemory({ limitBytes, workers, packSizeBytes });
          const sum =
            RUNTIME_BYTES +
            fixedBytes(plan, packSizeBytes) +
            plan.indexBytes +
            plan.pendingIndexBytes;
          expect(sum).toBeLessThanOrEqual(limitBytes);
          expect(plan.indexBytes + plan.pendingIndexBytes).toBeGreaterThanOrEqual(MIN_INDEX_BYTES);
          expect(plan.workers).toBeLessThanOrEqual(workers);
          expect(plan.readAheadBytes).toBeGreaterThan(0);
        });
      }
    }
  }

  test("a higher ceiling never makes a part of the work smaller", () => {
    let before = planMemory({ limitBytes: 280 * MIB, workers: 8, packSizeBytes: PACK });
    for (let limitMib = 281; limitMib < 2048; limitMib += 7) {
      const plan = planMemory({ limitBytes: limitMib * MIB, workers: 8, packSizeBytes: PACK });
      expect(plan.workers).toBeGreaterThanOrEqual(before.workers);
      expect(plan.packUploads).toBeGreaterThanOrEqual(before.packUploads);
      expect(plan.contentCacheBytes).toBeGreaterThanOrEqual(before.contentCacheBytes);
      before = plan;
    }
  });

  test("without a ceiling the index may grow", () => {
    const plan = planMemory({ workers: 3, packSizeBytes: PACK });
    expect(plan).toMatchObject({ workers: 3, indexBytes: Number.POSITIVE_INFINITY });
  });

  test("a ceiling that is too low is refused with the least that would do", () => {
    const tooLow = (): unknown =>
      planMemory({ limitBytes: 100 * MIB, workers: 1, packSizeBytes: PACK });
    expect(tooLow).toThrow(VarveError);
    const least = Number(/it takes (\d+) MiB/.exec(messageOf(tooLow))?.[1]);
    const plan = (limitMib: number): unknown =>
      planMemory({ limitBytes: limitMib * MIB, workers: 1, packSizeBytes: PACK });
    expect(() => plan(least)).not.toThrow();
    expect(() => plan(least - 1)).toThrow(/too low/);
  });
});

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
  return "";
}

import { expect, test } from "vitest";
import type { Environment } from "../base/environment.ts";
import { systemEnvironment } from "../base/environment.ts";
import { createMemoryStore } from "./memory-store.ts";
import { parseBlobId, type Retention } from "./store.ts";

const A = parseBlobId("a");
const BYTES = Uint8Array.of(1, 2, 3);

function storeAt(clock: { ms: number }) {
  const environment: Environment = { ...systemEnvironment(), nowMs: () => clock.ms };
  return createMemoryStore({ environment });
}

test.each(["governance", "compliance", "locked"] as const)(
  "a blob under %s retention is not deleted or replaced before its time",
  async (mode) => {
    const clock = { ms: 1000 };
    const store = storeAt(clock);
    const retention: Retention = { mode, untilMs: 2000 };
    await store.put(A, [BYTES], { retention });
    await expect(store.delete(A)).rejects.toMatchObject({ code: "access-denied" });
    await expect(store.put(A, [])).rejects.toMatchObject({ code: "access-denied" });
    expect(await store.get(A)).toEqual(BYTES);
    clock.ms = 2000;
    await store.delete(A);
    await expect(store.stat(A)).rejects.toMatchObject({ code: "blob-not-found" });
  },
);

test("retention is extended and never shortened", async () => {
  const clock = { ms: 1000 };
  const store = storeAt(clock);
  await store.put(A, [BYTES]);
  await store.extendRetention(A, { mode: "governance", untilMs: 3000 });
  await store.extendRetention(A, { mode: "governance", untilMs: 2000 });
  clock.ms = 2999;
  await expect(store.delete(A)).rejects.toMatchObject({ code: "access-denied" });
});

test("a put tells the environment's time", async () => {
  const store = storeAt({ ms: 1234 });
  expect(await store.put(A, [BYTES])).toEqual({ id: A, size: 3, mtimeMs: 1234 });
});

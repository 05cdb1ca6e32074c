import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import { parseBlobId } from "../blob/store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { isRetained, retainingStore } from "./retaining-store.ts";

test("packs, indexes and format blobs are retained, others are not", () => {
  const names = ["p1-s1", "q1-s1", "n1", "xn0_1", "kopia.repository", "kopia.blobcfg"];
  const others = ["s1-s1", "_log_1", "m1", "l1", "kopia.maintenance"];
  expect([...names, ...others].filter((name) => isRetained(parseBlobId(name)))).toEqual(names);
});

test("retention counts from the put", async () => {
  const environment = seededEnvironment({ seed: 1 });
  const inner = createMemoryStore({ environment });
  const retention = { mode: "governance", periodMs: 1000 } as const;
  const store = retainingStore(inner, { retention, environment });
  const [pack, marker] = [parseBlobId("p1"), parseBlobId("s1")];
  environment.advance(5000);
  await store.put(pack, []);
  await store.put(marker, []);
  await store.delete(marker);
  environment.advance(999);
  await expect(store.delete(pack)).rejects.toMatchObject({ code: "access-denied" });
  environment.advance(1);
  await store.delete(pack);
  await expect(store.stat(pack)).rejects.toMatchObject({ code: "blob-not-found" });
});

test("without retention the store is used as it is", () => {
  const environment = seededEnvironment({ seed: 1 });
  const inner = createMemoryStore({ environment });
  expect(retainingStore(inner, { retention: undefined, environment })).toBe(inner);
});

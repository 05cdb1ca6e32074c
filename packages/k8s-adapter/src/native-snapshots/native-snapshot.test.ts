import { gzipSync } from "node:zlib";
import { createMemoryStore, parseBlobId } from "@varve/core/blob";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readNativeSnapshots } from "./native-snapshot.ts";

const FILE = "b-volumesnapshots.json.gz";

async function read(value: unknown): ReturnType<typeof readNativeSnapshots> {
  const store = createMemoryStore();
  if (value !== undefined) {
    await store.put(parseBlobId(FILE), [gzipSync(JSON.stringify(value))]);
  }
  return await readNativeSnapshots(store, "b", {});
}

const spec = { location: "l", persistentVolumeName: "v", volumeType: "disk" };
const taken = { spec, status: { providerSnapshotID: "s-1", phase: "Completed" } };

test("snapshots that were taken are found, others are left out", async () => {
  expect(await read([taken])).toEqual([{ ...taken, snapshotId: "s-1" }]);
  const without = (part: object): object => ({ ...taken, ...part });
  expect(
    await read([
      without({ status: { phase: "Failed" } }),
      without({ status: null }),
      without({ spec: { ...spec, location: "" } }),
      without({ spec: { ...spec, persistentVolumeName: 1 } }),
      without({ spec: { ...spec, volumeAZ: {} } }),
      without({ spec: { ...spec, volumeIOPS: "many" } }),
    ]),
  ).toEqual([]);
});

test.each([[undefined], [null], [[]]])("%j is no snapshot", async (value) => {
  expect(await read(value)).toEqual([]);
});

test("anything in the file is a list of snapshots or corrupt", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      const outcome = await read(value).catch((error: unknown) => error);
      if (Array.isArray(outcome)) {
        expect(outcome).toEqual([]);
      } else {
        expect(outcome).toMatchObject({ code: "corrupt" });
      }
    }),
    { seed: 1, numRuns: 100 },
  );
});

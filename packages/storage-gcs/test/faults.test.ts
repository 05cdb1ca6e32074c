import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as varve from "@varve/core";
import { makeCertificate } from "@varve/testenv/certificate.ts";
import { startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { afterAll, describe, expect, test } from "vitest";
import { inventory, makeTree } from "../../core/test/trees/make-tree.ts";
import { openGcsStore } from "../src/index.ts";

/** A network that loses, damages and delays, and one that cannot be trusted. */

const FIRST_BUILD_MS = 600_000;
const password = "correct horse";
const credentials = { kind: "anonymous" } as const;
const folder = mkdtempSync(join(tmpdir(), "varve-gcs-faults-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

if (canRunGoServers("storage-gcs through faults to fake-gcs-server")) {
  test.each([1, 2, 3])(
    "backups through a bad network are whole, with seed %i",
    async (seed) => {
      const data = join(folder, `data-${seed}`);
      makeTree(data, { seed: `faults ${seed}` });
      await using server = await startFakeGcs();
      await server.createBucket("lossy");
      await using proxy = await startFaultProxy({ target: server.endpoint, vendor: "gcs", seed });
      const bucket = await openGcsStore({
        bucket: "lossy",
        endpoint: proxy.endpoint,
        credentials,
        idleTimeoutMs: 2000,
      });
      const environment = { ...varve.systemEnvironment(), sleep: async () => {} };
      await using store = varve.retryStore(bucket, { environment, attempts: 20 });
      const rates = {
        "error-500": 0.05,
        "error-503": 0.05,
        "error-429": 0.05,
        hang: 0.02,
        "reset-request": 0.05,
        "lost-answer": 0.05,
        "reset-response": 0.05,
        "truncate-response": 0.05,
        drip: 0.05,
      };
      await varve.createRepository(store, { password });
      proxy.setFaults({ rates });
      const backUp = async (): Promise<varve.UploadReport> => {
        await using repository = await varve.openRepository(store, { password, workers: 0 });
        return await varve.createSnapshot(repository, { path: data });
      };
      for (let round = 0; round < 4; round++) {
        expect((await backUp()).errors).toEqual([]);
      }
      proxy.setFaults({});
      expect(proxy.counts.faults.size).toBeGreaterThan(4);

      await using repository = await varve.openRepository(store, { password, workers: 0 });
      const { damagedCount, snapshots } = await varve.verify(repository, { readFraction: 1 });
      expect({ damagedCount, snapshots }).toEqual({ damagedCount: 0, snapshots: 4 });
      const newest = (await varve.listSnapshots(repository)).snapshots.at(-1);
      if (newest === undefined) {
        throw new Error("no snapshot");
      }
      const to = join(folder, `restored-${seed}`);
      await varve.restore(repository, { root: newest.root, target: varve.localTarget(to) });
      expect(inventory(to)).toEqual(inventory(data));
    },
    FIRST_BUILD_MS,
  );
}

describe("over TLS", () => {
  test("an own authority is trusted when it is given, and nobody's is not", async () => {
    const { certificate, key } = makeCertificate(["127.0.0.1"]);
    const server = createServer({ cert: certificate, key }, (_, response) => response.end("{}"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo; // it listens on a port
    const options = { bucket: "b", endpoint: `https://127.0.0.1:${port}`, credentials };
    await using store = await openGcsStore({ ...options, certificateAuthority: certificate });
    expect(store.label).toBe("gs://b/");
    await expect(openGcsStore(options)).rejects.toMatchObject({
      code: "storage-failed",
      retryable: false,
      message: expect.stringContaining("certificate is not trusted"),
    });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});

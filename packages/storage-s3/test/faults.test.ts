import { parseBlobId, retryStore, systemEnvironment } from "@varve/core/blob";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test } from "vitest";
import { openS3Store } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";

/** What networks and services do to requests: told as an error that may pass, and then got over by core's retries. */

const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});
const A = parseBlobId("a");
const BYTES = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
const RANGE = { offset: 1000, length: 50_000 };

for (const server of servers) {
  await server.createBucket("bucket");

  describe(server.name, () => {
    test.each([
      "error-500",
      "error-503",
      "error-429",
      "reset-request",
      "lost-answer",
      "reset-response",
    ] as const)("%s is worth another try", async (kind) => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using store = await openS3Store(options);
      await store.put(A, [BYTES]);
      proxy.setFaults({ rates: { [kind]: 1 } });
      const call = kind === "reset-request" ? store.put(A, [BYTES]) : store.get(A);
      await expect(call).rejects.toMatchObject({ code: "storage-failed", retryable: true });
    });

    test("how long the service asks to be left alone is told", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using store = await openS3Store(options);
      proxy.setFaults({ rates: { "error-503": 1 }, retryAfterSeconds: 7 });
      await expect(store.get(A)).rejects.toMatchObject({ retryAfterMs: 7_000 });
    });

    test("a range that was cut short is found out", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using store = await openS3Store(options);
      await store.put(A, [BYTES]);
      proxy.setFaults({ rates: { "truncate-response": 1 } });
      await expect(store.get(A, { range: RANGE })).rejects.toMatchObject({
        code: "storage-failed",
        retryable: true,
      });
    });

    const checking = server.features.has("checksums") ? [server] : [];
    test.each(checking)("$name: a body that was damaged on its way is not stored", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using store = await openS3Store(options);
      await store.put(A, [BYTES]);
      proxy.setFaults({ rates: { "corrupt-request": 1 } });
      const damaged = store.put(A, [BYTES.subarray(1)]);
      await expect(damaged).rejects.toMatchObject({ code: "storage-failed", retryable: true });
      proxy.setFaults({});
      expect((await store.stat(A)).size).toBe(BYTES.length);
    });

    test("a silent server is given up on, and so is one that drips for ever", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using impatient = await openS3Store({ ...options, timeouts: { idleMs: 1_000 } });
      await using hurried = await openS3Store({ ...options, timeouts: { requestMs: 1_000 } });
      proxy.setFaults({ rates: { hang: 1 } });
      for (const store of [impatient, hurried]) {
        await expect(store.get(A)).rejects.toMatchObject({
          code: "storage-failed",
          retryable: true,
        });
      }
    });

    test("an abort in the middle rejects with its reason", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      await using store = await openS3Store(options);
      proxy.setFaults({ rates: { hang: 1 } });
      const reason = new Error("told to stop");
      const controller = new AbortController();
      const getting = store.get(A, { signal: controller.signal });
      const putting = store.put(A, [BYTES], { signal: controller.signal });
      controller.abort(reason);
      await expect(getting).rejects.toBe(reason);
      await expect(putting).rejects.toBe(reason);
    });

    test("retries get over one fault in five", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint, seed: 7 });
      const options = { ...serverOptions(server, "bucket"), endpoint: proxy.endpoint };
      const environment = systemEnvironment();
      await using store = retryStore(await openS3Store(options), { environment, firstDelayMs: 1 });
      proxy.setFaults({
        rates: {
          "error-500": 0.05,
          "error-503": 0.05,
          "reset-response": 0.05,
          "lost-answer": 0.05,
        },
      });
      for (let index = 0; index < 40; index++) {
        const id = parseBlobId(`n${index}`);
        await store.put(id, [BYTES.subarray(index)]);
        const got = await store.get(id);
        expect(Buffer.compare(got, BYTES.subarray(index))).toBe(0);
        await store.delete(id);
      }
      expect(proxy.counts.faults.size).toBe(4);
    });
  });
}

import { expect, test } from "vitest";
import { serveHttp } from "./http.ts";
import { Metrics } from "./metrics.ts";

test("probes and metrics are answered", async () => {
  const metrics = new Metrics();
  metrics.count("velero_backup_attempt_total", { schedule: "nightly" });
  let ready = false;
  await using endpoint = await serveHttp({ address: "127.0.0.1:0", metrics, isReady: () => ready });
  const ask = async (path: string): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${endpoint.port}${path}`);
    return [response.status, await response.text()];
  };
  expect(await ask("/healthz")).toEqual([200, "ok\n"]);
  expect(await ask("/readyz")).toEqual([503, "not ready\n"]);
  ready = true;
  expect(await ask("/readyz?verbose")).toEqual([200, "ok\n"]);
  expect((await ask("/metrics"))[1]).toContain('velero_backup_attempt_total{schedule="nightly"} 1');
  expect((await ask("/secret"))[0]).toBe(404);
});

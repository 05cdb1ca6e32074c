import { gunzipSync } from "node:zlib";
import { seededEnvironment } from "@varve/core/testing";
import { expect, test } from "vitest";
import { RecordedLog } from "./recorded-log.ts";

test("entries are counted, put under their namespace, and kept as text", async () => {
  const log = new RecordedLog(seededEnvironment({ seed: 1 }), { backup: "velero/b1" });
  log.info("begun");
  log.warn("odd", { resource: "pods", namespace: "shop", name: "web", error: new Error("why") });
  log.error("bad");
  expect([log.warnings, log.errors]).toEqual([1, 1]);
  expect(log.results).toEqual({
    warnings: {
      namespaces: { shop: [" resource: /pods name: /web message: /odd error: /why"] },
    },
    errors: { velero: [" message: /bad"] },
  });
  const text = gunzipSync(Buffer.concat(await log.close())).toString("utf8");
  expect(text.split("\n")).toHaveLength(4);
  expect(text).toMatch(/level=warning msg="odd" backup=velero\/b1 error=why name=web/);
});

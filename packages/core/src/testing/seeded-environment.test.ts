import { expect, test } from "vitest";
import { seededEnvironment } from "./seeded-environment.ts";

function bytes(seed: number): Uint8Array {
  return seededEnvironment({ seed }).randomBytes(64);
}

test("equal seeds give equal bytes, other seeds others", () => {
  expect(bytes(1)).toEqual(bytes(1));
  expect(bytes(1)).not.toEqual(bytes(2));
  expect(new Set(bytes(1)).size).toBeGreaterThan(40);
});

test("the clock moves by advance and sleep only", async () => {
  const environment = seededEnvironment({ seed: 1, startMs: 1000 });
  environment.advance(5);
  await environment.sleep(20);
  expect(environment.nowMs()).toBe(1025);
  const reason = new Error("stop");
  await expect(environment.sleep(1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(environment.nowMs()).toBe(1025);
});

test("what is logged is kept", () => {
  const environment = seededEnvironment({ seed: 1 });
  environment.log({ level: "info", message: "one" });
  expect(environment.events).toEqual([{ level: "info", message: "one" }]);
});

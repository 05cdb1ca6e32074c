import { expect, test } from "vitest";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { newSessionId } from "./session.ts";

test("a session id ends in the number of 30-day periods since 2000", () => {
  const startMs = Date.UTC(2026, 10, 22);
  const id = newSessionId(seededEnvironment({ seed: 1, startMs }));
  expect(id).toMatch(/^s[0-9a-f]{16}147$/);
});

test("a clock before 2000 still gives a session id", () => {
  const id = newSessionId(seededEnvironment({ seed: 1, startMs: 0 }));
  expect(id).toMatch(/^s[0-9a-f]{16}0$/);
});

import { expect, test } from "vitest";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { Turns } from "./turns.ts";

test("a turn is due when the loop was held for long, and all that ask wait for the same one", async () => {
  const environment = seededEnvironment({ seed: 1 });
  const turns = new Turns(environment);
  expect(turns.due()).toBeUndefined();
  environment.advance(20);
  const turn = turns.due();
  expect(turn).toBeInstanceOf(Promise);
  expect(turns.due()).toBe(turn);
  await turn;
  expect(turns.due()).toBeUndefined();
});

test("a clock that is set back is no reason to hold the loop until it has caught up", () => {
  const environment = seededEnvironment({ seed: 1 });
  const turns = new Turns(environment);
  environment.advance(-3_600_000);
  expect(turns.due()).toBeInstanceOf(Promise);
});

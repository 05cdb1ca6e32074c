import { afterAll, describe, expect, test } from "vitest";
import { PLANTED_BUGS } from "./planted-bugs.ts";
import { simulate } from "./scenario.ts";

const MAX_SEEDS_TO_FIND = 60;

describe("a mistake is found:", () => {
  const foundAt = new Map<string, number>();
  afterAll(() => {
    const lines = Array.from(foundAt, ([name, seed]) => `  seed ${seed}: ${name}`);
    const score = `${foundAt.size} of ${PLANTED_BUGS.length}`;
    process.stdout.write(`planted bugs found: ${score}\n${lines.join("\n")}\n`);
  });

  test.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))("%s", async (_name, bug) => {
    const first = bug.near ?? 1;
    for (let seed = first; seed < first + MAX_SEEDS_TO_FIND && !foundAt.has(bug.name); seed++) {
      if ((await simulate(seed, bug)).violations.length > 0) {
        foundAt.set(bug.name, seed);
      }
    }
    expect(foundAt.has(bug.name)).toBe(true);
  });
});

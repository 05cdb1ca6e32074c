import { expect, test } from "vitest";
import { Slots } from "./slots.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("so many at a time, the others in order, and one that gives up leaves the queue", async () => {
  const slots = new Slots(1);
  const log: string[] = [];
  const first = await slots.take();
  const stop = new AbortController();
  const second = slots
    .take({ signal: stop.signal })
    .catch((error: unknown) => log.push(String(error)));
  const third = slots.take().then((slot) => {
    log.push("third");
    return slot;
  });
  await turn();
  expect(log).toEqual([]);
  stop.abort("gave up");
  await second;
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  expect(log).toEqual(["gave up", "third"]);
  (await slots.take())[Symbol.dispose]();
});

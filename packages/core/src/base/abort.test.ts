import { expect, test } from "vitest";
import { onAbort } from "./abort.ts";
import { Semaphore } from "./concurrency.ts";
import { systemEnvironment } from "./environment.ts";

test("all that wait for a signal are told once, but those that wait no longer", () => {
  const controller = new AbortController();
  const told: string[] = [];
  const wait = (name: string): (() => void) => onAbort(controller.signal, () => told.push(name));
  wait("first");
  const forget = wait("second");
  wait("third");
  forget();
  forget();
  controller.abort();
  expect(told).toEqual(["first", "third"]);
});

test("who waits while the signal aborts is not told, and one that is told may end the wait of others", () => {
  const controller = new AbortController();
  const told: string[] = [];
  let forgetSecond = (): void => {};
  onAbort(controller.signal, () => {
    told.push("first");
    forgetSecond();
    onAbort(controller.signal, () => told.push("late"));
  });
  forgetSecond = onAbort(controller.signal, () => told.push("second"));
  controller.abort();
  expect(told).toEqual(["first"]);
});

test("without a signal nothing is waited for", () => {
  expect(onAbort(undefined, () => {})()).toBeUndefined();
});

test("200 sleeps and 200 waits for one slot under one signal warn of no leak", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): unknown => warnings.push(warning);
  process.on("warning", note);
  const { signal } = new AbortController();
  const environment = systemEnvironment();
  const slot = new Semaphore(1);
  const calls = Array.from({ length: 200 }, async () => {
    await slot.acquire(1, { signal });
    slot.release(1);
    await environment.sleep(1, { signal });
  });
  await Promise.all(calls);
  process.off("warning", note);
  expect(warnings).toEqual([]);
});

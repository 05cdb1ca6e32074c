import { expect, test } from "vitest";
import { parseContentId } from "../index/content-id.ts";
import { Claims } from "./claims.ts";

const a = parseContentId("aa");
const b = parseContentId("bb");
const c = parseContentId("cc");

/** Whether a promise is settled once all that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  for (let turn = 0; turn < 10; turn++) {
    await Promise.resolve();
  }
  return settled;
}

test("a content has one owner until it is settled", () => {
  const claims = new Claims();
  expect([claims.take(a), claims.take(a), claims.take(b)]).toEqual([true, false, true]);
  claims.settle(a);
  expect(claims.take(a)).toBe(true);
});

test("what was not claimed cannot be settled", () => {
  expect(() => new Claims().settle(a)).toThrow("was not claimed");
});

test("waiting ends with the claims that were open when it began", async () => {
  const claims = new Claims();
  claims.take(a);
  claims.take(b);
  const waiting = claims.settled(claims.last);
  claims.take(c);
  claims.settle(b);
  expect(await isSettled(waiting)).toBe(false);
  claims.settle(a);
  await waiting;
});

test("without open claims there is nothing to wait for", async () => {
  const claims = new Claims();
  await claims.settled(claims.last);
  claims.take(a);
  claims.abandon(a);
  await claims.settled(claims.last);
});

test("giving up a claim is noticed only when somebody counts on it", () => {
  const claims = new Claims();
  claims.take(a);
  claims.take(b);
  claims.take(b);
  expect([claims.abandon(a), claims.abandon(b), claims.abandon(c)]).toEqual([true, false, true]);
});

test("a lost session ends the waiting", async () => {
  const claims = new Claims();
  claims.take(a);
  const waiting = claims.settled(claims.last);
  claims.fail(new Error("lost"));
  await expect(waiting).rejects.toThrow("lost");
});

test("an abort ends only the waiting of its caller", async () => {
  const claims = new Claims();
  const controller = new AbortController();
  claims.take(a);
  const aborted = claims.settled(claims.last, { signal: controller.signal });
  const waiting = claims.settled(claims.last);
  controller.abort(new Error("stop"));
  await expect(aborted).rejects.toThrow("stop");
  await expect(claims.settled(claims.last, { signal: controller.signal })).rejects.toThrow("stop");
  expect(await isSettled(waiting)).toBe(false);
  claims.settle(a);
  await waiting;
});

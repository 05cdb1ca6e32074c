import type { Environment } from "@varve/core/blob";
import { expect, test } from "vitest";
import { withIdleTimeout } from "./idle-timeout.ts";

/** A clock that is moved by hand: `pass` ends the sleep that is on its way. */
function handClock(): { environment: Environment; pass: () => Promise<void> } {
  let wake = (): void => {};
  const environment: Environment = {
    nowMs: () => 0,
    sleep: (_ms, { signal } = {}) =>
      new Promise((resolve, reject) => {
        wake = resolve;
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
    randomBytes: (size) => new Uint8Array(size),
    log: () => {},
  };
  const pass = async (): Promise<void> => {
    wake();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  };
  return { environment, pass };
}

const idleTimeoutMs = 1000;

/** Work that ends when it is told to stop, as a request does. */
function endless(abortSignal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    abortSignal.addEventListener("abort", () => reject(new Error("AbortError")), { once: true });
  });
}

test("work that moves too few bytes in one idle time is aborted, and may be tried again", async () => {
  const { environment, pass } = handClock();
  let move = (_bytes: number): void => {};
  const running = withIdleTimeout(
    { idleTimeoutMs, environment, signal: undefined },
    ({ abortSignal, moved }) => {
      move = moved;
      return endless(abortSignal);
    },
  );
  const outcome = running.catch((error: unknown) => error);
  move(4096);
  await pass();
  move(4095); // a drip is as good as nothing
  await pass();
  expect(await outcome).toMatchObject({
    code: "storage-failed",
    retryable: true,
    message: "4095 bytes moved in 1000 ms",
  });
});

test("a signal ends work with its reason, and what succeeded stays so", async () => {
  const { environment } = handClock();
  const controller = new AbortController();
  const { signal } = controller;
  const running = withIdleTimeout({ idleTimeoutMs, environment, signal }, ({ abortSignal }) =>
    endless(abortSignal),
  );
  const done = withIdleTimeout({ idleTimeoutMs, environment, signal }, async () => "done");
  expect(await done).toBe("done");
  const reason = new Error("told to stop");
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
  const late = withIdleTimeout({ idleTimeoutMs, environment, signal }, async () => "never");
  await expect(late).rejects.toBe(reason);
});

test("an error of the work itself passes as it is", async () => {
  const { environment } = handClock();
  const error = new Error("its own");
  const running = withIdleTimeout({ idleTimeoutMs, environment, signal: undefined }, async () => {
    throw error;
  });
  await expect(running).rejects.toBe(error);
});

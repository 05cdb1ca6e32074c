import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Buffers that nobody needs any more, and that may lie about beside those in use. V8 by itself lets it be 64 MiB. */
const GARBAGE_BYTES = 16 * 1024 * 1024;
const LOOK_EVERY_MS = 100;

/**
 * V8 keeps the little room for young objects that it starts with, a megabyte instead of sixteen. Each new thread sets the flag back, for all of them: it is set
 * again when one runs.
 */
export function keepYoungFew(): void {
  const set = (): void => setFlagsFromString("--semi-space-growth-factor=1");
  set();
  process.on("worker", (worker) => worker.once("online", set));
}

/** For a command whose many small objects live for seconds: V8 would let twice as much garbage lie as there are of them. Costs little time: they are few. */
export function collectObjectsOften(): void {
  setFlagsFromString("--heap-growing-percent=30");
}

/** For a process that must stay small: V8 keeps less for young objects, and buffers are collected soon. Costs some time. */
export function collectOften(): void {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  let usedBytes = 0;
  const look = setInterval(() => {
    const { arrayBuffers } = process.memoryUsage();
    if (arrayBuffers > usedBytes + GARBAGE_BYTES) {
      collect();
      usedBytes = process.memoryUsage().arrayBuffers;
    } else {
      usedBytes = Math.min(usedBytes, arrayBuffers);
    }
  }, LOOK_EVERY_MS);
  look.unref();
}

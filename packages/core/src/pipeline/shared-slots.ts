import { SEALED_BATCH_BYTES, SHARED_SLOTS } from "../base/budget.ts";

/** A full batch, or a single content of the usual splitters, and what sealing adds; whole pages. */
const SLOT_BYTES = SEALED_BATCH_BYTES + 64 * 1024;
const STATE_BYTES = 4096;
const FREE = 0;
const TAKEN = 1;

/**
 * Memory that all threads of an executor see, in slots for sealed batches. Bytes that are handed over from thread to thread count
 * as new memory each time, so that V8 collected garbage for a fifth of the main thread's time; these are never handed over, and never collected.
 */
export class SharedSlots {
  readonly memory: SharedArrayBuffer;
  readonly #states: Int32Array;

  /** Of this executor's other threads; left out: new ones, all free. Memory that is never used costs nothing. */
  constructor(
    memory: SharedArrayBuffer = new SharedArrayBuffer(STATE_BYTES + SHARED_SLOTS * SLOT_BYTES),
  ) {
    this.memory = memory;
    this.#states = new Int32Array(memory, 0, SHARED_SLOTS);
  }

  /** The first slot that is free, so that few are ever touched; nothing when none is, or `size` does not fit. */
  take(size: number): number | undefined {
    if (size > SLOT_BYTES) {
      return undefined;
    }
    const slot = this.#states.findIndex(
      (_, index) => Atomics.compareExchange(this.#states, index, FREE, TAKEN) === FREE,
    );
    return slot < 0 ? undefined : slot;
  }

  /** Until it is given back. */
  bytesOf(slot: number): Uint8Array {
    return new Uint8Array(this.memory, STATE_BYTES + slot * SLOT_BYTES, SLOT_BYTES);
  }

  /** The slot that `bytes` begin, when they lie in one. */
  slotOf({ buffer, byteOffset }: Uint8Array): number | undefined {
    return buffer === this.memory ? (byteOffset - STATE_BYTES) / SLOT_BYTES : undefined;
  }

  giveBack(slot: number): void {
    Atomics.store(this.#states, slot, FREE);
  }
}

/**
 * Calls `listener` when the signal aborts, unless what is returned was called before; without a signal that never
 * happens. Whoever waits checks first whether the signal has aborted already. All that wait for one signal share one
 * listener on it: many calls under one signal are no leak, though Node takes the eleventh listener for one.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) {
    return () => {};
  }
  const waits = waitsOf.get(signal) ?? listen(signal);
  const wait = (): void => listener(); // one function may wait several times
  waits.all.add(wait);
  return () => {
    if (waits.all.delete(wait) && waits.all.size === 0) {
      signal.removeEventListener("abort", waits.listener);
      waitsOf.delete(signal);
    }
  };
}

interface Waits {
  readonly all: Set<() => void>;
  readonly listener: () => void;
}

// It belongs to the signals, whoever made them, and goes with them.
const waitsOf = new WeakMap<AbortSignal, Waits>();

function listen(signal: AbortSignal): Waits {
  const all = new Set<() => void>();
  const listener = (): void => {
    waitsOf.delete(signal);
    for (const wait of all) {
      all.delete(wait);
      wait();
    }
  };
  const waits = { all, listener };
  waitsOf.set(signal, waits);
  signal.addEventListener("abort", listener, { once: true });
  return waits;
}

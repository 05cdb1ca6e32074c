import { onAbort } from "./abort.ts";

/** What the library has to say while it works; hosts decide where it goes. Never holds secrets or file data. */
export interface LogEvent {
  readonly level: "debug" | "info" | "warning" | "error";
  readonly message: string;
  readonly fields?: Readonly<Record<string, string | number | boolean>>;
}

/**
 * The only door to time, chance and logging: everything else in core takes an `Environment`, which is
 * what makes a simulation with a seed and a clock of its own possible.
 */
export interface Environment {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Resolves after `ms` milliseconds, or rejects with `signal.reason` when aborted before. */
  sleep(ms: number, options?: CallOptions): Promise<void>;
  /** `size` bytes from a cryptographically strong source (a seeded one in tests). */
  randomBytes(size: number): Uint8Array;
  log(event: LogEvent): void;
}

/** The options every asynchronous call takes: after `signal` aborts nothing more is written to storage. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** The real clock and random source; `log` defaults to silence. */
export function systemEnvironment(options: { log?: (event: LogEvent) => void } = {}): Environment {
  return {
    nowMs: () => Date.now(),
    sleep: (ms, { signal } = {}) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const forget = onAbort(signal, () => {
          cancel();
          reject(signal?.reason);
        });
        const cancel = callLater(ms, () => {
          forget();
          resolve();
        });
      }),
    randomBytes,
    log: options.log ?? (() => {}),
  };
}

/** What is returned prevents the call. No time at all is a turn of the event loop: a timer would take a millisecond. */
function callLater(ms: number, call: () => void): () => void {
  if (ms <= 0 && typeof setImmediate === "function") {
    const immediate = setImmediate(call);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

// WebCrypto refuses more than 65536 bytes a call.
const MAX_RANDOM_BYTES_PER_CALL = 65_536;

function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let offset = 0; offset < size; offset += MAX_RANDOM_BYTES_PER_CALL) {
    globalThis.crypto.getRandomValues(bytes.subarray(offset, offset + MAX_RANDOM_BYTES_PER_CALL));
  }
  return bytes;
}

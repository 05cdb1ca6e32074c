import { createRequire } from "node:module";
import type * as ffi from "ffi-rs";

/**
 * Exact nanoseconds for file times. Node gives times to the system as seconds in a double, and before libuv 1.49 cuts
 * them to microseconds; the format and Kopia keep nanoseconds, and a file whose time differs is read again by the next
 * backup. `ffi-rs`, an optional dependency, calls the system's own function instead.
 */
export interface ExactTimes {
  /** Access and modification time of an open file or directory. False when the system refused. */
  setOpen(fd: number, timeNs: bigint): boolean;
  /** Times of what lies at `path`, never of what a symlink there points to. False when the system refused. */
  setEntry(path: string | Uint8Array, timeNs: bigint): boolean;
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const NS_PER_SECOND = 1_000_000_000n;
const LIBRARY = "varve-libc";
/** Where `struct timespec` is two 64-bit numbers, and the C library's possible names. */
const C_LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  "linux x64": ["libc.so.6", "libc.musl-x86_64.so.1"],
  "linux arm64": ["libc.so.6", "libc.musl-aarch64.so.1"],
};

/** Undefined where `ffi-rs` or the system's function is not to be had: then times are a microsecond early at most. */
export function openExactTimes(): ExactTimes | undefined {
  for (const path of C_LIBRARIES[`${process.platform} ${process.arch}`] ?? []) {
    try {
      return bind(createRequire(import.meta.url)("ffi-rs") as typeof ffi, path); // its own types
    } catch {
      // an optional dependency that is not installed, or the other C library
    }
  }
  return undefined;
}

function bind({ DataType, define, open }: typeof ffi, path: string): ExactTimes {
  open({ library: LIBRARY, path });
  const { I32, U8Array } = DataType;
  const { futimens, utimensat } = define({
    futimens: { library: LIBRARY, retType: I32, paramsType: [I32, U8Array] },
    utimensat: { library: LIBRARY, retType: I32, paramsType: [I32, U8Array, U8Array, I32] },
  });
  return {
    setOpen: (fd, timeNs) => futimens([fd, timespecs(timeNs)]) === 0,
    setEntry: (path, timeNs) => {
      const terminated = Buffer.concat([Buffer.from(path), Buffer.of(0)]);
      return utimensat([AT_FDCWD, terminated, timespecs(timeNs), AT_SYMLINK_NOFOLLOW]) === 0;
    },
  };
}

/** The two `struct timespec` of the call: access and modification time. */
function timespecs(timeNs: bigint): Buffer {
  const nanos = ((timeNs % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  const seconds = (timeNs - nanos) / NS_PER_SECOND;
  return Buffer.from(BigInt64Array.of(seconds, nanos, seconds, nanos).buffer);
}

import { unwatchFile, watchFile } from "node:fs";
import type { LimitedStore, StoreLimits } from "@varve/core/blob";
import { type Command, InvalidArgumentError } from "commander";
import { readConnection } from "./connection.ts";

/** How fast storage may be asked, as options and in the connection file. */

/** The limits by their members in the connection file, in the order in which they are shown. */
export const LIMITS: readonly {
  readonly member: keyof StoreLimits;
  /** Of `repository throttle set`. */
  readonly flag: string;
  readonly label: string;
  readonly isSpeed: boolean;
}[] = [
  {
    member: "maxDownloadSpeedBytesPerSecond",
    flag: "download-bytes-per-second",
    label: "Max download speed",
    isSpeed: true,
  },
  {
    member: "maxUploadSpeedBytesPerSecond",
    flag: "upload-bytes-per-second",
    label: "Max upload speed",
    isSpeed: true,
  },
  {
    member: "readsPerSecond",
    flag: "read-requests-per-second",
    label: "Max read requests per second",
    isSpeed: false,
  },
  {
    member: "writesPerSecond",
    flag: "write-requests-per-second",
    label: "Max write requests per second",
    isSpeed: false,
  },
  {
    member: "listsPerSecond",
    flag: "list-requests-per-second",
    label: "Max list requests per second",
    isSpeed: false,
  },
  {
    member: "concurrentReads",
    flag: "concurrent-reads",
    label: "Max concurrent reads",
    isSpeed: false,
  },
  {
    member: "concurrentWrites",
    flag: "concurrent-writes",
    label: "Max concurrent writes",
    isSpeed: false,
  },
];

/** A number, or one of Kopia's words for none. */
export function parseLimit(text: string): number {
  const value = text === "unlimited" || text === "-" ? 0 : Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError("neither a number nor unlimited");
  }
  return value;
}

interface SpeedOptions {
  readonly maxDownloadSpeed?: number;
  readonly maxUploadSpeed?: number;
}

export function addSpeedOptions(command: Command): void {
  command
    .option("--max-download-speed <n>", "bytes a second", parseLimit)
    .option("--max-upload-speed <n>", "bytes a second", parseLimit);
}

/** What the speed options say; members that were not given are left out. */
export function speedLimits(command: Command): StoreLimits {
  const { maxDownloadSpeed, maxUploadSpeed } = command.opts<SpeedOptions>();
  return withoutNone({
    maxDownloadSpeedBytesPerSecond: maxDownloadSpeed,
    maxUploadSpeedBytesPerSecond: maxUploadSpeed,
  });
}

/** Without members that limit nothing. */
export function withoutNone(limits: StoreLimits): StoreLimits {
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => Boolean(limit)));
}

// `repository throttle set` is felt by programs that run within this time.
const WATCH_MS = 2_000;

/** Until disposed, limits that are written to the connection file hold for `store` as well. */
export function followLimits(configFile: string, store: LimitedStore): Disposable {
  const follow = (): void => {
    readConnection(configFile).then(
      ({ throttlingLimits = {} }) => store.setLimits(throttlingLimits),
      () => {}, // disconnected meanwhile, which is no reason to stop
    );
  };
  watchFile(configFile, { persistent: false, interval: WATCH_MS }, follow);
  return { [Symbol.dispose]: () => unwatchFile(configFile, follow) };
}

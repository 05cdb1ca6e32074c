import { formatBytes, formatDuration } from "./output.ts";

/** A line on standard error that tells how far a command is: amounts, rate, and time left when the total is known. */
export interface Progress extends Disposable {
  update(state: ProgressState): void;
}

export interface ProgressState {
  /** e.g. `1,204 files`; the part before the bytes. */
  readonly text: string;
  readonly bytesDone: number;
  /** Left out while it is not known. */
  readonly bytesTotal?: number | undefined;
}

/** Silent unless standard error is a terminal and progress was not turned off. */
export async function startProgress(options: {
  enabled: boolean;
  label: string;
}): Promise<Progress> {
  if (!options.enabled || !process.stderr.isTTY) {
    return { update: () => {}, [Symbol.dispose]: () => {} };
  }
  const { SingleBar } = await import("cli-progress");
  const started = performance.now();
  const bar = new SingleBar({
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    format: `${options.label} {bar} {text}`,
    barsize: 20,
    fps: 5,
  });
  bar.start(1, 0, { text: "" });
  let stopped = false;
  return {
    update: ({ text, bytesDone, bytesTotal }) => {
      const elapsedMs = performance.now() - started;
      const rate = elapsedMs > 0 ? (bytesDone / elapsedMs) * 1000 : 0;
      const left =
        bytesTotal !== undefined && rate > 0
          ? `, ${formatDuration((Math.max(0, bytesTotal - bytesDone) / rate) * 1000)} left`
          : "";
      const share =
        bytesTotal === undefined || bytesTotal === 0 ? 0 : Math.min(1, bytesDone / bytesTotal);
      const amount =
        bytesTotal === undefined
          ? formatBytes(bytesDone)
          : `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)} (${Math.floor(share * 100)}%)`;
      bar.update(share, { text: `${text}, ${amount}, ${formatBytes(Math.round(rate))}/s${left}` });
    },
    [Symbol.dispose]: () => {
      // A second stop would move the cursor back over what was printed since.
      if (!stopped) {
        stopped = true;
        bar.stop();
      }
    },
  };
}

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Runs one command to its end and tells how long that took and how much memory its processes had at most. */

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Measured {
  /** From the start of the process to its exit. */
  readonly seconds: number;
  /** Sum of the peaks of all processes of the command; 0 where there is no `/proc`. */
  readonly peakBytes: number;
  readonly stdout: string;
}

// Peaks grow monotonically, so only what is reached after the last look is missed.
const POLL_MS = 20;

/** Throws with the end of what the command printed when it fails. */
export async function measure(command: Command): Promise<Measured> {
  const { file, args, env, cwd } = command;
  const started = process.hrtime.bigint();
  const child = spawn(file, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
  const peaks = new Map<number, number>();
  const look = (): void => {
    if (child.pid !== undefined) {
      lookAtTree(child.pid, peaks);
    }
  };
  const timer = setInterval(look, POLL_MS);
  look();
  let stdout = "";
  let printed = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString();
  });
  child.stderr.on("data", (data: Buffer) => {
    printed = (printed + data.toString()).slice(-MAX_MESSAGE);
  });
  let ended = started;
  child.on("exit", () => {
    ended = process.hrtime.bigint();
    clearInterval(timer);
  });
  try {
    const status = await new Promise<number | NodeJS.Signals>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(code ?? signal ?? 1));
    });
    if (status !== 0) {
      throw new Error(`exit ${status}: ${printed.trim() || stdout.trim().slice(-MAX_MESSAGE)}`);
    }
  } finally {
    clearInterval(timer);
  }
  const peakBytes = [...peaks.values()].reduce((sum, peak) => sum + peak, 0);
  return { seconds: Number(ended - started) / 1e9, peakBytes, stdout };
}

const MAX_MESSAGE = 400;

/** `VmHWM` starts anew with each program, unlike the resource usage that a parent is told. */
function lookAtTree(root: number, peaks: Map<number, number>): void {
  const pending = [root];
  for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
    try {
      const [, kilobytes] =
        /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
      if (kilobytes !== undefined) {
        peaks.set(pid, Number(kilobytes) * 1024);
      }
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const children = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8");
        pending.push(...children.split(" ").filter(Boolean).map(Number));
      }
    } catch {
      // gone meanwhile, or no /proc here
    }
  }
}

/** Waits until what was written before is on disk, so that a command does not pay for the one before it. */
export async function settle(): Promise<void> {
  if (existsSync("/proc")) {
    await measure({ file: "sync", args: [], env: { PATH: process.env["PATH"] ?? "" } });
  }
}

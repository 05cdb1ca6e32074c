import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Writable } from "node:stream";

/**
 * Exact nanoseconds for file times. Node hands times to the system as seconds in a double and, in Node 20, cuts them to
 * microseconds; the format and Kopia keep nanoseconds, and a file whose time differs is read again by the next
 * backup. So what Node set is refined by one helper process, fed in batches: perl (in every Debian base system)
 * or python3. Where neither is there, times stay as Node set them.
 *
 * The helper gets paths, never follows a symlink at the end of one, and changes nothing but times: somebody who
 * swaps a parent directory for a symlink meanwhile can at most have the time of another file set.
 */
export interface ExactTimes {
  /** `path` is absolute, without NUL. Waits while the helper is behind. */
  set(path: Uint8Array, mtimeNs: bigint): Promise<void>;
  /** Resolves when all that was asked for is done. */
  finish(): Promise<void>;
}

// utimensat(AT_FDCWD, path, {atime, mtime}, AT_SYMLINK_NOFOLLOW) by its number, as perl's own utime takes doubles.
const SYSCALL_NUMBERS: Readonly<Record<string, number>> = { x64: 280, arm64: 88 };
const PERL = `$/ = "\\0"; while (<STDIN>) { chomp; my ($s, $n, $p) = split / /, $_, 3;
  my $t = pack "q4", $s, $n, $s, $n; syscall($ARGV[0] + 0, -100, $p, $t, 0x100); }`;
const PYTHON = `import os, sys
rest = b""
while got := sys.stdin.buffer.read1(65536):
    *done, rest = (rest + got).split(b"\\0")
    for record in done:
        s, n, path = record.split(b" ", 2)
        t = int(s) * 10**9 + int(n)
        try: os.utime(path, ns=(t, t), follow_symlinks=False)
        except OSError: pass`;

const BATCH_BYTES = 64 * 1024;

interface Helper {
  readonly stdin: Writable;
  readonly ended: Promise<void>;
}

/** Starts its process with the first batch. */
export function createExactTimes(): ExactTimes {
  let helper: Promise<Helper | undefined> | undefined;
  let batch: Uint8Array[] = [];
  let batchBytes = 0;
  const send = async (): Promise<void> => {
    const records = Buffer.concat(batch);
    batch = [];
    batchBytes = 0;
    helper ??= startHelper();
    const { stdin } = (await helper) ?? {};
    if (stdin?.writable === true && !stdin.write(records)) {
      // A helper that dies closes its pipe; then times stay as they are.
      await Promise.race([once(stdin, "drain"), once(stdin, "close")]).catch(() => {});
    }
  };
  return {
    async set(path, mtimeNs) {
      const nanos = ((mtimeNs % NS) + NS) % NS;
      const seconds = (mtimeNs - nanos) / NS;
      batch.push(Buffer.from(`${seconds} ${nanos} `), path, Buffer.of(0));
      batchBytes += path.length;
      if (batchBytes >= BATCH_BYTES) {
        await send();
      }
    },
    async finish() {
      if (batch.length > 0) {
        await send();
      }
      const running = await helper;
      helper = undefined;
      running?.stdin.end();
      await running?.ended;
    },
  };
}

const NS = 1_000_000_000n;

async function startHelper(): Promise<Helper | undefined> {
  const number = process.platform === "linux" ? SYSCALL_NUMBERS[process.arch] : undefined;
  return (
    (number === undefined ? undefined : await start("perl", ["-e", PERL, String(number)])) ??
    (await start("python3", ["-c", PYTHON]))
  );
}

/** Nothing when there is no such command. */
async function start(command: string, args: readonly string[]): Promise<Helper | undefined> {
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "ignore"], cwd: "/" });
  // There is no pipe when descriptors have run out, whatever the types say; other errors of it: see `send`.
  (child.stdin as Writable | undefined)?.on("error", () => {});
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
  });
  const started = await new Promise<boolean>((resolve) => {
    child.once("spawn", () => resolve(true));
    child.once("error", () => resolve(false));
  });
  return started ? { stdin: child.stdin, ended } : undefined;
}

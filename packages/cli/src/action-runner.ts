import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ActionCommand,
  type ActionKind,
  type ActionPair,
  type ActionRunner,
  errorMessage,
  localSource,
} from "@varve/core";
import { childEnvironment } from "./child-environment.ts";
import { version } from "./version.ts";

/**
 * Runs the commands of policies as Kopia does (behaviour §1.9), in a folder of their own that only this user may enter. A shell
 * runs only what is a script without a `#!` line. They do not get the password; what they print is cut at a bound.
 */
export const ACTION_RUNNER: ActionRunner = {
  begin: (place) => new LocalActions(place),
  open: (path, { signal }) => localSource(path, { ahead: true, signal }),
};

// Kopia's.
const DEFAULT_TIMEOUT_MS = 180_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const MAX_OUTPUT_BYTES = 64 * 1024;
// What the command has started may hold its output open.
const OUTPUT_GRACE_MS = 1000;
const IS_WINDOWS = process.platform === "win32";

class LocalActions implements ActionPair {
  readonly #id: string;
  readonly #sourcePath: string;
  #snapshotPath: string;
  #folder: Promise<string> | undefined;
  readonly #background = new Set<ChildProcess>();

  constructor({ id, sourcePath }: { readonly id: string; readonly sourcePath: string }) {
    this.#id = id;
    this.#sourcePath = sourcePath;
    this.#snapshotPath = sourcePath;
  }

  async run(
    kind: ActionKind,
    command: ActionCommand,
    { signal }: { readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly snapshotPath?: string | undefined }> {
    this.#folder ??= mkdtemp(join(tmpdir(), "varve-action-"));
    const folder = await this.#folder;
    const [program, ...args] = await commandLine(kind, command, folder);
    const isBackground = command.mode === "async";
    const output = isBackground ? "ignore" : "pipe";
    const child = spawn(program, args, {
      cwd: folder,
      env: childEnvironment({
        KOPIA_ACTION: kind,
        KOPIA_SNAPSHOT_ID: this.#id,
        KOPIA_SOURCE_PATH: this.#sourcePath,
        KOPIA_SNAPSHOT_PATH: this.#snapshotPath,
        KOPIA_VERSION: await version(),
      }),
      stdio: ["ignore", output, output],
      detached: !IS_WINDOWS, // a group of its own, so that all of it can be ended
    });
    await once(child, "spawn");
    if (isBackground) {
      this.#background.add(child);
      child.once("exit", () => this.#background.delete(child));
      child.unref();
      return {};
    }
    const timeoutMs = command.timeout ? command.timeout * 1000 : DEFAULT_TIMEOUT_MS;
    const text = await outputOf(child, { timeoutMs: Math.min(timeoutMs, MAX_TIMEOUT_MS), signal });
    const [, snapshotPath] = [...text.matchAll(/^KOPIA_SNAPSHOT_PATH=(.+?)\r?$/gm)].at(-1) ?? [];
    if (snapshotPath === undefined || !kind.startsWith("before-")) {
      return {};
    }
    if (!isAbsolute(snapshotPath)) {
      throw new Error(`KOPIA_SNAPSHOT_PATH=${snapshotPath} is not absolute`);
    }
    this.#snapshotPath = snapshotPath;
    return { snapshotPath };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const folder = await this.#folder;
    this.#folder = undefined;
    if (folder === undefined) {
      return;
    }
    const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
    if (this.#background.size === 0) {
      await remove();
    }
    for (const child of this.#background) {
      // Its script lies there. Should it outlive us, the folder stays.
      child.once("exit", () => void (this.#background.size === 0 && remove().catch(() => {})));
    }
  }
}

async function commandLine(
  kind: ActionKind,
  { path, args = [], script }: ActionCommand,
  folder: string,
): Promise<readonly [string, ...string[]]> {
  if (script !== undefined && script !== "") {
    const file = join(folder, `${kind}${IS_WINDOWS ? ".cmd" : ".sh"}`);
    await writeFile(file, script, { mode: 0o700, flag: "wx" });
    return IS_WINDOWS
      ? [process.env["COMSPEC"] ?? "cmd.exe", "/c", file]
      : script.startsWith("#!")
        ? [file]
        : ["sh", "-e", file];
  }
  if (path === undefined || path === "") {
    throw new Error("the policy names neither a command nor a script");
  }
  return [path, ...args];
}

/** What it printed, cut; rejects unless it ends well. What it says on standard error is handed on. */
async function outputOf(
  child: ChildProcess,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<string> {
  let ended: string | undefined;
  const kill = (why: string): void => {
    ended ??= why;
    killGroup(child);
  };
  const timer = setTimeout(() => kill(`took longer than ${timeoutMs / 1000} s`), timeoutMs);
  const onAbort = (): void => kill("was interrupted");
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) {
    onAbort();
  }
  const parts: Buffer[] = [];
  collect(child.stdout, (part) => parts.push(part));
  collect(child.stderr, (part) => process.stderr.write(part));
  try {
    const closed = once(child, "close");
    const [status, by] = (await once(child, "exit")) as [number | null, string | null]; // what "exit" gives
    await Promise.race([closed, sleep(OUTPUT_GRACE_MS, undefined, { ref: false })]);
    if (ended !== undefined || status !== 0) {
      throw new Error(`the command ${ended ?? `ended with ${status ?? by}`}`);
    }
    return Buffer.concat(parts).toString();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** Takes all of it and hands on no more than the bound. */
function collect(stream: ChildProcess["stdout"], use: (part: Buffer) => void): void {
  let left = MAX_OUTPUT_BYTES;
  stream?.on("data", (part: Buffer) => {
    if (left > 0) {
      use(part.subarray(0, left));
      left -= part.length;
    }
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) {
    return;
  }
  try {
    process.kill(IS_WINDOWS ? child.pid : -child.pid, "SIGKILL");
  } catch (error) {
    if (errorMessage(error).includes("ESRCH")) {
      return; // it has ended meanwhile
    }
    throw error;
  }
}

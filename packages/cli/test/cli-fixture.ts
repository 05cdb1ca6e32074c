import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/** The built program in child processes, with a folder and a configuration of its own. */

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const RUNNER = fileURLToPath(new URL("./command-runner.mjs", import.meta.url));
export const PASSWORD = "correct horse battery";

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly bytes: Buffer;
  readonly stderr: string;
}

/** Either makes it a process of its own; without them one process runs command after command. */
export interface RunOptions {
  readonly input?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

export class Cli implements Disposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), "varve-cli-"));
  readonly #more: Readonly<Record<string, string>>;
  #runner?: ChildProcess;
  #turn: Promise<unknown> = Promise.resolve();

  /** `env` is for all its commands, which then need no processes of their own for it. */
  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#more = env;
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Parents are made. Gives the path. */
  write(name: string, data: string | Uint8Array): string {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, data);
    return path;
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  /** The program as a user starts it. */
  start(args: readonly string[], { env = {} }: RunOptions = {}): ChildProcess {
    return spawn(process.execPath, [MAIN, ...args], {
      cwd: this.dir,
      env: { ...this.#env(), ...env },
    });
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
    if (options.input !== undefined || options.env !== undefined) {
      const child = this.start(args, options);
      child.stdin?.end(options.input ?? "");
      return await ended(child);
    }
    const turn = this.#turn.then(() => this.#runNext(args));
    this.#turn = turn.catch(() => {});
    return await turn;
  }

  async #runNext(args: readonly string[]): Promise<Ended> {
    this.#runner ??= fork(RUNNER, { cwd: this.dir, env: this.#env() });
    const answered = once(this.#runner, "message");
    this.#runner.send(args);
    const [{ status, stdout, stderr }] = (await answered) as [
      { status: number; stdout: string; stderr: string },
    ]; // what command-runner.mjs sends
    const bytes = Buffer.from(stdout, "base64");
    const errors = Buffer.from(stderr, "base64").toString();
    return { status, stdout: bytes.toString(), bytes, stderr: errors };
  }

  #env(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      HOME: this.dir,
      VARVE_CONFIG_PATH: this.path("config/repository.config"),
      VARVE_PASSWORD: PASSWORD,
      ...this.#more,
    };
  }

  /** What it printed; it must succeed. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(args, options);
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    return stdout;
  }

  /** The one document that it printed; `--json` is added, and it must end with `status`. */
  async json<T>(
    args: readonly string[],
    options: RunOptions & { status?: number } = {},
  ): Promise<T> {
    const { status, stdout, stderr } = await this.run([...args, "--json"], options);
    const wanted = options.status ?? 0;
    expect({ status, stderr: status === wanted ? "" : stderr }).toEqual({
      status: wanted,
      stderr: "",
    });
    return JSON.parse(stdout) as T; // the test says what it looks for
  }

  /** The one line that it printed on standard error; it must fail and print nothing else. */
  async fails(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(args, options);
    expect({ status, stdout, lines: stderr.trimEnd().split("\n").length }).toEqual({
      status: 1,
      stdout: "",
      lines: 1,
    });
    return stderr;
  }

  readBytes(name: string): Buffer {
    return readFileSync(this.path(name));
  }

  /** The password is kept, which spares each command a quarter of a second of deriving the key. */
  async createRepository(...args: readonly string[]): Promise<void> {
    const create = ["repository", "create", "filesystem", "--path", this.path("repo")];
    await this.ok([...create, "--persist-credentials", ...args]);
  }

  [Symbol.dispose](): void {
    this.#runner?.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function ended(child: ChildProcess): Promise<Ended> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on("data", (part: Buffer) => out.push(part));
  child.stderr?.on("data", (part: Buffer) => err.push(part));
  await once(child, "close");
  const bytes = Buffer.concat(out);
  return {
    status: child.exitCode,
    stdout: bytes.toString(),
    bytes,
    stderr: Buffer.concat(err).toString(),
  };
}

/** What tests look at of a snapshot's document. */
export interface SnapshotJson {
  readonly id: string;
  readonly source: { readonly host: string; readonly userName: string; readonly path: string };
  readonly description: string;
  readonly startTime: string;
  readonly endTime: string;
  readonly incomplete?: string;
  readonly rootEntry: {
    readonly name: string;
    readonly type: string;
    readonly obj: string;
    readonly summ: { readonly size: number; readonly files: number; readonly numFailed: number };
  };
  readonly tags?: Readonly<Record<string, string>>;
  readonly pins?: readonly string[];
  readonly stats?: Readonly<Record<string, number>>;
  readonly retentionReason?: readonly string[];
  readonly upload: Readonly<Record<string, number>> & {
    readonly errors: readonly { readonly path: string; readonly code: string }[];
    readonly skipped: Readonly<Record<string, number>>;
  };
}

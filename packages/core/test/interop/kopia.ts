import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Stock Kopia, given by its path in `VARVE_TEST_KOPIA`; each instance is one client with its own configuration. */
export class Kopia implements Disposable {
  readonly #folder: string;
  readonly #password: string;
  readonly #binary: string;

  constructor(options: { password: string }) {
    const binary = process.env["VARVE_TEST_KOPIA"];
    if (binary === undefined || !existsSync(binary)) {
      throw new Error("set VARVE_TEST_KOPIA to the path of a kopia binary");
    }
    this.#binary = binary;
    this.#password = options.password;
    this.#folder = mkdtempSync(join(tmpdir(), "varve-kopia-"));
  }

  /** Standard output of a command that must succeed. */
  run(...args: string[]): string {
    const { status, stdout, stderr } = this.attempt(...args);
    if (status !== 0) {
      throw new Error(`kopia ${args.join(" ")}: exit ${status}\n${stdout}\n${stderr}`);
    }
    return stdout;
  }

  attempt(...args: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(
      this.#binary,
      [
        "--config-file",
        join(this.#folder, "config"),
        "--log-dir",
        join(this.#folder, "logs"),
        "--no-progress",
        ...args,
      ],
      {
        encoding: "utf8",
        maxBuffer: 1 << 28,
        env: {
          ...process.env,
          KOPIA_PASSWORD: this.#password,
          KOPIA_CHECK_FOR_UPDATES: "false",
          KOPIA_CACHE_DIRECTORY: join(this.#folder, "cache"),
        },
      },
    );
  }

  connect(repository: string, identity: { username: string; hostname: string }): void {
    this.run(
      "repository",
      "connect",
      "filesystem",
      `--path=${repository}`,
      `--override-username=${identity.username}`,
      `--override-hostname=${identity.hostname}`,
      `--cache-directory=${join(this.#folder, "cache")}`,
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

import { Writable } from "node:stream";
import { Exec, type KubeConfig } from "@kubernetes/client-node";
import type { Environment } from "@varve/core";
import { type ExecOptions, type ExecResult, KubeError } from "./kube-api.ts";

// A hook may print without end; its beginning is what a log needs.
const MAX_OUTPUT_BYTES = 256 * 1024;

/** Runs a command in a container, without a shell, standard input or terminal. */
export async function execInPod(
  config: KubeConfig,
  environment: Environment,
  options: ExecOptions,
): Promise<ExecResult> {
  const { namespace, pod, container, command, timeoutMs, signal } = options;
  const what = `exec in ${namespace}/${pod} (${container})`;
  signal?.throwIfAborted();
  const [stdout, stderr] = [new Capture(), new Capture()];
  const done = new AbortController();
  const ended = new Promise<ExecResult>((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), {
      once: true,
      signal: done.signal,
    });
    environment.sleep(timeoutMs, { signal: done.signal }).then(
      () => reject(new KubeError("timeout", `${what}: not done after ${timeoutMs} ms`)),
      () => {}, // it ended in time
    );
    new Exec(config)
      .exec(namespace, pod, container, [...command], stdout, stderr, null, false, (status) => {
        const exitCode = exitCodeOf(status);
        resolve({ stdout: stdout.text(), stderr: stderr.text(), exitCode });
      })
      .then(
        (socket) => {
          socket.addEventListener("close", () => {
            // A status, if there was one, has come before.
            reject(new KubeError("unavailable", `${what}: the connection ended without a status`));
          });
          socket.addEventListener("error", () => {});
          done.signal.addEventListener("abort", () => socket.close());
          return socket;
        },
        (error: unknown) => reject(execError(what, error)),
      );
  });
  try {
    return await ended;
  } finally {
    done.abort();
  }
}

function execError(what: string, error: unknown): KubeError {
  const { message = "the connection could not be made" } = error as { message?: string }; // an Error or an ErrorEvent
  const status = Number(/response: (\d{3})/.exec(message)?.[1] ?? 0);
  const code = status === 404 ? "not-found" : status === 403 ? "forbidden" : "unavailable";
  return new KubeError(code, `${what}: ${message}`, { status });
}

interface ExecStatus {
  readonly status?: string | undefined;
  readonly message?: string | undefined;
  readonly details?:
    | {
        readonly causes?:
          | readonly { reason?: string | undefined; message?: string | undefined }[]
          | undefined;
      }
    | undefined;
}

function exitCodeOf({ status, details }: ExecStatus): number {
  if (status === "Success") {
    return 0;
  }
  const cause = details?.causes?.find(({ reason }) => reason === "ExitCode");
  const code = Number(cause?.message);
  return Number.isInteger(code) && code !== 0 ? code : 1;
}

class Capture extends Writable {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    const room = MAX_OUTPUT_BYTES - this.#size;
    if (room > 0) {
      this.#chunks.push(chunk.subarray(0, room));
      this.#size += Math.min(room, chunk.length);
    }
    callback();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}

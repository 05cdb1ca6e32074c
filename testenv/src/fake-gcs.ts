import { goTool, startServer } from "./process.ts";

/** Google Cloud Storage as github.com/fsouza/fake-gcs-server speaks it, in memory, on a free loopback port. */

const MODULE = "github.com/fsouza/fake-gcs-server";
const VERSION = "v1.56.1";

export interface FakeGcs extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`. */
  readonly endpoint: string;
  createBucket(name: string, options?: { readonly versioning?: boolean }): Promise<void>;
  /** Ends the server, with all that it holds. */
  stop(): Promise<void>;
}

/** Builds the server once (this takes minutes) and starts it. Needs the Go toolchain. */
export async function startFakeGcs(): Promise<FakeGcs> {
  const server = await startServer({
    command: await goTool(MODULE, VERSION),
    args: (port) => [
      "-backend=memory",
      "-scheme=http",
      "-host=127.0.0.1",
      `-port=${port}`,
      // It answers reads by path only under this name.
      `-public-host=127.0.0.1:${port}`,
      `-external-url=http://127.0.0.1:${port}`,
      "-log-level=error",
    ],
    ready: async (port) => (await fetch(`http://127.0.0.1:${port}/storage/v1/b`)).ok,
  });
  const endpoint = `http://127.0.0.1:${server.port}`;
  return {
    endpoint,
    createBucket: async (name, { versioning = false } = {}) => {
      const response = await fetch(`${endpoint}/storage/v1/b?project=test`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name, versioning: { enabled: versioning } }),
      });
      if (!response.ok) {
        throw new Error(`create bucket ${name}: ${response.status} ${await response.text()}`);
      }
    },
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

import { connect, createServer, type Socket } from "node:net";

/**
 * A program of its own: makes every request to a server on this machine wait as long as a round trip to a far one. It
 * passes bytes on without looking at them, so that it costs little beside what is measured. A request begins where a
 * connection speaks anew after the server had its say, which is so for HTTP/1.1 without pipelining.
 *
 * Started by `fork` with the server's port. Tells `{ port }`, then answers each `{ latencyMs }` with the {@link ProxyCounts}
 * since the one before.
 */

export interface ProxyCounts {
  readonly requests: number;
  /** Most that waited for an answer at once. */
  readonly mostAtOnce: number;
}

let latencyMs = 0;
let requests = 0;
let atOnce = 0;
let mostAtOnce = 0;

function serve(client: Socket, serverPort: number): void {
  const upstream = connect({ port: serverPort, host: "127.0.0.1", noDelay: true });
  let isAsking = false;
  /** What has come of a request that waits. */
  let held: Buffer[] | undefined;
  client.on("data", (bytes: Buffer) => {
    if (!isAsking) {
      isAsking = true;
      requests++;
      mostAtOnce = Math.max(mostAtOnce, ++atOnce);
      if (latencyMs > 0) {
        held = [];
        setTimeout(() => {
          for (const part of held ?? []) {
            upstream.write(part);
          }
          held = undefined;
          client.resume();
        }, latencyMs);
      }
    }
    if (held === undefined) {
      pass(bytes, client, upstream);
    } else {
      held.push(bytes);
      client.pause();
    }
  });
  const answered = (): void => {
    atOnce -= isAsking ? 1 : 0;
    isAsking = false;
  };
  upstream.on("data", (bytes: Buffer) => {
    answered();
    pass(bytes, upstream, client);
  });
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on("error", () => other.destroy());
    one.on("end", () => other.end());
    one.on("close", answered);
  }
}

function pass(bytes: Buffer, from: Socket, to: Socket): void {
  if (!to.write(bytes)) {
    from.pause();
    to.once("drain", () => from.resume());
  }
}

const server = createServer({ noDelay: true }, (client) => serve(client, Number(process.argv[2])));
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" ? address?.port : undefined });
});
process.on("message", (message: { readonly latencyMs: number }) => {
  process.send?.({ requests, mostAtOnce } satisfies ProxyCounts);
  ({ latencyMs } = message);
  requests = 0;
  mostAtOnce = 0;
});
process.on("disconnect", () => process.exit());

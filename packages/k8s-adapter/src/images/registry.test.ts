import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { systemEnvironment } from "@varve/core";
import { afterEach, expect, test } from "vitest";
import { digestOf } from "./image-manifest.ts";
import { Registry } from "./registry.ts";
import { parseChallenge } from "./registry-connection.ts";

/** Registries that do what they should not. */

const BYTES = Uint8Array.of(1, 2, 3);
const BLOB = { digest: digestOf(BYTES), size: BYTES.length };
const environment = systemEnvironment();
const servers: Disposable[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server[Symbol.dispose]();
  }
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(answer: Answer): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push({ [Symbol.dispose]: () => server.close().closeAllConnections() });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

async function registryOf(answer: Answer): Promise<Registry> {
  const url = await serve(answer);
  const registry = new Registry({ url, token: () => Promise.resolve("secret") }, environment);
  servers.push(registry);
  return registry;
}

async function readBlob(registry: Registry): Promise<number> {
  let size = 0;
  for await (const chunk of registry.blob("a/b", BLOB, {})) {
    size += chunk.length;
  }
  return size;
}

test.each([
  ["other bytes", Uint8Array.of(3, 2, 1), "corrupt"],
  ["more bytes", new Uint8Array(1000), "corrupt"],
  ["no bytes", new Uint8Array(0), "corrupt"],
])("a blob of %s is refused", async (_, bytes, code) => {
  const registry = await registryOf((_request, response) => response.end(bytes));
  await expect(readBlob(registry)).rejects.toMatchObject({ code });
});

test("a blob that breaks off may be asked for again", async () => {
  const registry = await registryOf((_request, response) => {
    response.writeHead(200, { "content-length": 3 });
    response.write(Uint8Array.of(1), () => response.destroy());
  });
  await expect(readBlob(registry)).rejects.toMatchObject({
    code: "storage-failed",
    retryable: true,
  });
});

test("a manifest without end is refused", async () => {
  const registry = await registryOf((_request, response) => {
    const more = (): void => {
      if (!response.destroyed) {
        response.write(new Uint8Array(1 << 20), more);
      }
    };
    more();
  });
  await expect(registry.manifest("a/b", BLOB.digest, {})).rejects.toMatchObject({
    code: "corrupt",
  });
});

test("the token is shown to no other host, and goes with no redirect", async () => {
  const seen: (string | undefined)[] = [];
  const other = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end(BYTES);
  });
  const elsewhere = await registryOf((_request, response) => {
    const realm = other.replace("127.0.0.1", "localhost");
    response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token"` }).end();
  });
  await expect(readBlob(elsewhere)).rejects.toMatchObject({ code: "access-denied" });
  expect(seen).toEqual([]);

  const redirecting = await registryOf((request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { "www-authenticate": "Basic" }).end();
    } else {
      response.writeHead(307, { location: `${other}/blob` }).end();
    }
  });
  expect(await readBlob(redirecting)).toBe(3);
  expect(seen).toEqual([undefined]);
});

test("redirects end, and uploads go nowhere else", async () => {
  const loop = await registryOf((_request, response) => {
    response.writeHead(307, { location: "/again" }).end();
  });
  await expect(readBlob(loop)).rejects.toMatchObject({ code: "storage-failed" });
  const away = await registryOf((_request, response) => {
    response.writeHead(202, { location: "http://elsewhere.test/upload" }).end();
  });
  const bytes = (async function* () {
    yield BYTES;
  })();
  await expect(away.putBlob("a/b", BLOB, bytes, {})).rejects.toMatchObject({
    code: "storage-failed",
  });
});

test.each([
  ['Basic realm="x"', { scheme: "basic", realm: "x", service: undefined }],
  [
    'Bearer realm="https://r/token",service="s",scope="repository:a:pull"',
    { scheme: "bearer", realm: "https://r/token", service: "s" },
  ],
  ["Negotiate", undefined],
  ["", undefined],
])("the challenge %s is understood", (header, challenge) => {
  expect(parseChallenge(header)).toEqual(challenge);
});

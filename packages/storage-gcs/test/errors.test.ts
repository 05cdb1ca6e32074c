import {
  type Environment,
  parseBlobId,
  retryStore,
  systemEnvironment,
  VarveError,
} from "@varve/core/blob";
import { seededEnvironment } from "@varve/core/testing";
import { describe, expect, test } from "vitest";
import { type GcsStoreOptions, openGcsStore } from "../src/index.ts";
import {
  type Answerer,
  type CannedGcs,
  isOpening,
  objectJson,
  sayJson,
  sayNo,
  startCannedGcs,
} from "./canned-gcs.ts";

/** What goes wrong between here and Google, and what a caller is told of it. */

const X = parseBlobId("x");

function optionsFor(server: CannedGcs): GcsStoreOptions {
  return { bucket: "b", endpoint: server.endpoint, credentials: { kind: "anonymous" } };
}

/** What `call` fails with on a store whose every request but the first is answered by `answer`. */
async function failureOf(
  answer: Answerer,
  call: (store: Awaited<ReturnType<typeof openGcsStore>>) => Promise<unknown>,
  options: Partial<GcsStoreOptions> = {},
): Promise<VarveError> {
  await using server = await startCannedGcs((request, response) =>
    isOpening(request) ? sayJson(response, {}) : answer(request, response),
  );
  await using store = await openGcsStore({ ...optionsFor(server), ...options });
  const outcome = await call(store).then(
    () => new Error("it succeeded"),
    (error: unknown) => error,
  );
  if (!(outcome instanceof VarveError)) {
    throw outcome;
  }
  return outcome;
}

const LACKS_CREATE =
  "me@p.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object. Permission 'storage.objects.create' denied on resource (or it may not exist).";

describe("an answer", () => {
  test.each([
    [400, "Provided MD5 hash doesn't match calculated MD5 hash", "storage-failed", true, "MD5"],
    [400, "Object retention is not enabled", "unsupported", false, "b has no object retention"],
    [400, "Invalid argument.", "storage-failed", false, "Invalid argument."],
    [401, "Invalid Credentials", "access-denied", false, "expired or not valid"],
    [
      401,
      "Anonymous caller does not have storage.objects.get access to the object.",
      "access-denied",
      false,
      "not authenticated, and everybody lacks permission storage.objects.get on bucket b",
    ],
    [403, LACKS_CREATE, "access-denied", false, "permission storage.objects.create on bucket b"],
    [
      403,
      "Object 'b/x' is subject to bucket's retention policy or object retention and cannot be deleted",
      "blob-locked",
      false,
      "locked by retention",
    ],
    [403, "The billing account is disabled.", "access-denied", false, "billing account"],
    [404, "The specified bucket does not exist.", "storage-failed", false, "no bucket b"],
    [404, "No such object: b/bucket does", "blob-not-found", false, "No such object"],
    [408, "", "storage-failed", true, "408"],
    [412, "At least one of the pre-conditions did not hold", "blob-exists", false, ""],
    [416, "", "range-invalid", false, ""],
    [418, "", "storage-failed", false, "418"],
    [429, "Too many requests", "storage-failed", true, "Too many"],
    [500, "", "storage-failed", true, "500"],
    [502, "", "storage-failed", true, ""],
    [503, "", "storage-failed", true, ""],
    [504, "", "storage-failed", true, ""],
  ] as const)("%i %j is %s", async (status, message, code, retryable, said) => {
    for (const inJson of [true, false]) {
      const error = await failureOf(
        (_, response) => {
          if (inJson) {
            sayNo(response, status, message);
          } else {
            response.writeHead(status).end(message);
          }
        },
        (store) => store.get(X),
      );
      expect(error).toMatchObject({ code, retryable });
      expect(error.message).toMatch(/^get x: /);
      expect(error.message).toContain(said);
    }
  });

  test("403 for too many requests may be tried again", async () => {
    const error = await failureOf(
      (_, response) => sayNo(response, 403, "Slow down", "userRateLimitExceeded"),
      (store) => store.get(X),
    );
    expect(error).toMatchObject({ code: "storage-failed", retryable: true });
  });

  test("404 to what is not about a blob means the bucket", async () => {
    for (const call of ["put", "list"] as const) {
      const error = await failureOf(
        (_, response) => sayNo(response, 404, "Not Found"),
        (store) =>
          call === "put" ? store.put(X, []) : store.list("")[Symbol.asyncIterator]().next(),
      );
      expect(error).toMatchObject({ code: "storage-failed", retryable: false });
      expect(error.message).toContain("there is no bucket b");
    }
  });

  test("that is no JSON may be tried again", async () => {
    const error = await failureOf(
      (_, response) => response.end("<html>"),
      (store) => store.stat(X),
    );
    expect(error).toMatchObject({ code: "storage-failed", retryable: true });
  });

  test("whose bytes do not have the hash that Google tells may be tried again", async () => {
    const error = await failureOf(
      (_, response) => {
        const hash = "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==";
        response.writeHead(200, { "x-goog-hash": hash }).end("damaged");
      },
      (store) => store.get(X),
    );
    expect(error).toMatchObject({ code: "storage-failed", retryable: true });
  });

  test("with a secret in it is told without", async () => {
    const error = await failureOf(
      (_, response) =>
        sayNo(response, 403, "Authorization: Bearer ya29.secret of eyJhb.secret-2\n-----BEGIN"),
      (store) => store.get(X),
    );
    expect(error.message).toMatch(/Authorization: \[secret\] of \[secret\] \[secret\]/);
  });
});

describe("a connection", () => {
  const get = (answer: Answerer, options?: Partial<GcsStoreOptions>): Promise<VarveError> =>
    failureOf(answer, (store) => store.get(X), options);

  test("that is reset before an answer, in its head or in its body, may be tried again", async () => {
    const resets: Answerer[] = [
      (_, response) => response.socket?.resetAndDestroy(),
      (_, response) => response.socket?.end("HTTP/1.1 200 O"),
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" }).write("x");
        setImmediate(() => response.socket?.destroy());
      },
      (_, response) => {
        response.writeHead(200).write("x");
        setImmediate(() => response.socket?.resetAndDestroy());
      },
    ];
    for (const reset of resets) {
      expect(await get(reset)).toMatchObject({ code: "storage-failed", retryable: true });
    }
  });

  test("that stands still, or drips, ends after the idle time", async () => {
    const stalls: Answerer[] = [
      () => {},
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" }).write("x");
      },
      (_, response) => {
        const drip = setInterval(() => response.write("x"), 5);
        response.once("close", () => clearInterval(drip));
      },
    ];
    for (const stall of stalls) {
      let endIdleTime = (): void => {};
      const sleep: Environment["sleep"] = (_, { signal } = {}) =>
        new Promise((resolve, reject) => {
          endIdleTime = resolve;
          signal?.addEventListener("abort", () => reject(signal.reason));
        });
      const answer: Answerer = (request, response) => {
        stall(request, response);
        setImmediate(() => endIdleTime());
      };
      const error = await get(answer, { environment: { ...systemEnvironment(), sleep } });
      expect(error).toMatchObject({ code: "storage-failed", retryable: true });
      expect(error.message).toContain("stalled for 60000 ms");
    }
  });

  test("to nobody may be tried again, and the label tells no secret", async () => {
    const server = await startCannedGcs(() => {});
    await server[Symbol.asyncDispose]();
    await expect(openGcsStore(optionsFor(server))).rejects.toMatchObject({
      code: "storage-failed",
      retryable: true,
      message: expect.stringMatching(/^open gs:\/\/b\/: ECONNREFUSED/),
    });
  });

  test("is dropped when the call is aborted, with the reason", async () => {
    const reason = new Error("told to stop");
    const controller = new AbortController();
    let closed: Promise<void> | undefined;
    await using server = await startCannedGcs((request, response) => {
      if (isOpening(request)) {
        sayJson(response, {});
        return;
      }
      closed = new Promise((resolve) => response.once("close", resolve));
      response.writeHead(200, { "content-length": "1000" }).write("x");
      controller.abort(reason);
    });
    await using store = await openGcsStore(optionsFor(server));
    await expect(store.get(X, { signal: controller.signal })).rejects.toBe(reason);
    await closed;
  });
});

test("how long the service asks to be left alone is told", async () => {
  await using server = await startCannedGcs((request, response) => {
    if (isOpening(request)) {
      sayJson(response, {});
    } else {
      response.writeHead(429, { "retry-after": "7" }).end();
    }
  });
  await using store = await openGcsStore(optionsFor(server));
  await expect(store.stat(X)).rejects.toMatchObject({ retryable: true, retryAfterMs: 7_000 });
});

test("what may be tried again is, by the retry wrapper, and only there", async () => {
  let failures = 0;
  await using server = await startCannedGcs((request, response) => {
    if (isOpening(request)) {
      sayJson(response, {});
    } else if (failures < 3) {
      failures += 1;
      sayNo(response, 503, "Backend Error", "backendError");
    } else {
      sayJson(response, objectJson("x"));
    }
  });
  const environment = seededEnvironment({ seed: 1 });
  await using store = retryStore(await openGcsStore(optionsFor(server)), { environment });
  expect(await store.stat(X)).toMatchObject({ size: 3 });
  expect(server.requests).toHaveLength(5);
});

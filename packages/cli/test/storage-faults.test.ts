import {
  adaptiveStore,
  type BlobStore,
  createRepository,
  type Environment,
  findEntry,
  isVarveError,
  listSnapshots,
  memorySource,
  openRepository,
  retryStore,
  systemEnvironment,
  upload,
  verify,
  withRetries,
} from "@varve/core";
import { openAzureStore } from "@varve/storage-azure";
import { openGcsStore } from "@varve/storage-gcs";
import { openS3Store } from "@varve/storage-s3";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { chanceOf } from "@varve/testenv/fault-chance.ts";
import { startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { type Faults, startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { startS3rver, startVersitygw } from "@varve/testenv/s3-servers.ts";
import type { FaultKind, Vendor } from "@varve/testenv/vendor-answers.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

/**
 * Many small backups into one repository, each through a network and a service that misbehave in its own way: what was
 * acknowledged is there in the end, and every run ends, with a snapshot or with a clear error.
 */

/** For each server; `.ci/run` asks for more. */
const RUNS = Number(process.env["VARVE_TEST_FAULT_RUNS"] ?? 12);
const AT_ONCE = 4;
/** A server in Go is built when it is first wanted on a machine. */
const FIRST_BUILD_MS = 600_000;
/** No run takes anything like it: who needs it hangs. */
const LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 120_000 + RUNS * 15_000;
/** Of a run: one that never gives up would make more. */
const MAX_REQUESTS = 1_000;
/** For all the runs of a server, four at once: what one takes is given back, whatever its faults. */
const MAX_GROWTH_BYTES = 200e6;

const PROFILES: readonly Faults["rates"][] = [
  { "error-500": 0.15, "error-503": 0.1, "error-429": 0.1 },
  { "reset-request": 0.1, "lost-answer": 0.15, "reset-response": 0.1 },
  { "truncate-response": 0.15, "corrupt-response": 0.1, "corrupt-request": 0.1 },
  { "stale-list": 0.5, drip: 0.2 },
  { expired: 0.02, forbidden: 0.02, skewed: 0.02 },
  { hang: 0.04, drip: 0.1 },
  everything(0.03),
];
/** Silence that is taken for the end of a connection. */
const IDLE_MS = 1_000;

function everything(rate: number): Partial<Record<FaultKind, number>> {
  const kinds: readonly FaultKind[] = [
    ...(["error-500", "error-503", "error-429", "reset-request", "lost-answer"] as const),
    ...(["reset-response", "truncate-response", "corrupt-response", "stale-list", "drip"] as const),
    "hang",
  ];
  return Object.fromEntries(kinds.map((kind) => [kind, rate]));
}

interface Server extends AsyncDisposable {
  readonly vendor: Vendor;
  readonly endpoint: string;
  /** Backups that it can stand. */
  readonly atOnce: number;
  /** A store that asks `origin` in place of the server's own. */
  open(origin: string, environment: Environment): Promise<BlobStore>;
}

/** s3rver's listings break for ever when it deletes and writes at once, so it serves only where there is nothing better. */
async function s3Server(): Promise<Server> {
  const isGateway = canRunGoServers("faults between varve and versitygw");
  const server = isGateway ? await startVersitygw() : await startS3rver();
  await server.createBucket("faults");
  const { accessKeyId, secretAccessKey, region } = server;
  const credentials = { kind: "keys", accessKeyId, secretAccessKey } as const;
  return {
    vendor: "s3",
    atOnce: isGateway ? AT_ONCE : 1,
    endpoint: server.endpoint,
    open: (endpoint, environment) =>
      openS3Store({
        ...{ bucket: "faults", endpoint, region, credentials, environment },
        timeouts: { idleMs: IDLE_MS },
      }),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

async function azureServer(): Promise<Server> {
  const server = await startAzurite();
  await server.createContainer("faults");
  const credentials = { kind: "account-key", accountKey: server.key } as const;
  const { origin, pathname } = new URL(server.endpoint);
  return {
    vendor: "azure",
    atOnce: AT_ONCE,
    endpoint: origin,
    open: (origin, environment) =>
      openAzureStore({
        container: "faults",
        endpoint: origin + pathname,
        storageAccount: server.account,
        credentials,
        objectLock: false,
        idleTimeoutMs: IDLE_MS,
        environment,
      }),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

async function gcsServer(): Promise<Server> {
  const server = await startFakeGcs();
  await server.createBucket("faults");
  return {
    vendor: "gcs",
    atOnce: AT_ONCE,
    endpoint: server.endpoint,
    open: (endpoint, environment) =>
      openGcsStore({
        ...{ bucket: "faults", endpoint, environment },
        credentials: { kind: "anonymous" },
        objectLock: false,
        idleTimeoutMs: IDLE_MS,
      }),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

// The SDK would say what it thinks of this version of Node.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

const PASSWORD = "correct horse";
const FILES = 4;

/** For what waits before it tries again, not for the stores' timeouts. */
function hastyEnvironment(): Environment {
  const real = systemEnvironment();
  return { ...real, sleep: (ms, options) => real.sleep(Math.min(ms, 3), options) };
}

function bytesOf(seed: number, file: number): Uint8Array {
  const size = Math.floor(chanceOf(seed, `size ${file}`) * 40_000);
  // The last file is the same for all, and so is in a pack of somebody's.
  const salt = file === FILES - 1 ? "all" : `${seed} ${file}`;
  return Uint8Array.from({ length: size }, (_, index) => chanceOf(index, salt) * 256);
}

/** True when the backup was acknowledged; rejects with anything but a clear error. */
async function backUp(server: Server, seed: number): Promise<boolean> {
  const rates = PROFILES[seed % PROFILES.length] ?? {};
  const { endpoint: target, vendor } = server;
  await using proxy = await startFaultProxy({ target, vendor, seed, faults: { rates } });
  const environment = hastyEnvironment();
  try {
    const open = (): Promise<BlobStore> => server.open(proxy.endpoint, systemEnvironment());
    await using opened = await withRetries("open", { environment }, open);
    const asked = adaptiveStore(opened, { environment: systemEnvironment() });
    await using store = retryStore(asked, { environment });
    await using repository = await openRepository(store, { password: PASSWORD, environment });
    const files = Array.from({ length: FILES }, (_, file) => [
      `file-${file}`,
      { data: bytesOf(seed, file), mtimeNs: BigInt(seed) },
    ]);
    const { saved } = await upload(repository, {
      source: { host: "host", userName: "user", path: `/seed-${seed}` },
      root: memorySource("data", { children: Object.fromEntries(files) }),
      description: String(seed),
    });
    return saved;
  } catch (error) {
    if (isVarveError(error)) {
      return false;
    }
    throw error;
  } finally {
    expect(proxy.counts.requests).toBeLessThan(MAX_REQUESTS);
  }
}

async function inTime<T>(seed: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`seed ${seed} hangs`)), LIMIT_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const SERVERS: readonly (readonly [name: string, start: () => Promise<Server>])[] = [
  ["S3", s3Server],
  ["Azure", azureServer],
  ...(canRunGoServers("faults between varve and fake-gcs-server")
    ? ([["GCS", gcsServer]] as const)
    : []),
];

describe.each(SERVERS)("on %s", (_name, start) => {
  let server: Server;
  let store: BlobStore;
  beforeAll(async () => {
    server = await start();
    const environment = systemEnvironment();
    store = await server.open(server.endpoint, environment);
    await createRepository(store, { password: PASSWORD, environment });
  }, FIRST_BUILD_MS);
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  test(
    `what was acknowledged in ${RUNS} faulty backups is there, whole`,
    async () => {
      const acknowledged: number[] = [];
      const rssBefore = process.memoryUsage().rss;
      const seeds = Array.from({ length: RUNS }, (_, index) => index + 1);
      const next = seeds[Symbol.iterator]();
      const work = async (): Promise<void> => {
        for (const seed of next) {
          if (await inTime(seed, backUp(server, seed))) {
            acknowledged.push(seed);
          }
        }
      };
      await Promise.all(Array.from({ length: server.atOnce }, work));
      const grownBytes = process.memoryUsage().rss - rssBefore;
      expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
      expect(acknowledged.length).toBeGreaterThan(RUNS / 2);

      await using repository = await openRepository(store, { password: PASSWORD });
      const { snapshots } = await listSnapshots(repository);
      for (const seed of acknowledged) {
        const found = snapshots.find(({ description }) => description === String(seed));
        expect({ seed, found: found !== undefined }).toEqual({ seed, found: true });
        if (found === undefined) {
          continue;
        }
        for (let file = 0; file < FILES; file++) {
          const { object } = await findEntry(repository, found.root, `file-${file}`);
          const reader = await repository.objects.open(object);
          const bytes = await reader.read({ offset: 0, length: reader.size });
          expect({ seed, file, same: Buffer.compare(bytes, bytesOf(seed, file)) === 0 }).toEqual({
            seed,
            file,
            same: true,
          });
        }
      }
      const report = await verify(repository, { readFraction: 1 });
      expect(report.damaged).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});

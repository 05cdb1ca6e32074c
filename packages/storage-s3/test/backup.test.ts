import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createRepository,
  createSnapshot,
  listSnapshots,
  localTarget,
  openRepository,
  type Repository,
  restore,
  verify,
} from "@varve/core";
import {
  adaptiveStore,
  limitStore,
  parseBlobId,
  retryStore,
  systemEnvironment,
} from "@varve/core/blob";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test, vi } from "vitest";
import { openS3Store, type S3StoreOptions } from "../src/index.ts";
import { filesOf, writeFiles } from "./files.ts";
import { serverOptions } from "./server-options.ts";

/** The whole way through a bucket, and how many requests it takes. */

const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});
const password = "in the cloud";

for (const server of servers) {
  await server.createBucket("bucket");

  describe(server.name, () => {
    test("a backup, a second one, verification and restore", async () => {
      using place = temporary();
      const options = { ...serverOptions(server, "bucket"), prefix: "round-trip/" };
      const files = writeFiles(place.data, { seed: 1 });
      await createIn(options);
      await withRepository(options, async (repository) => {
        await createSnapshot(repository, { path: place.data });
      });
      writeFileSync(join(place.data, "new.txt"), "new\n");
      await withRepository(options, async (repository) => {
        await createSnapshot(repository, { path: place.data });
      });
      await withRepository({ ...options, readOnly: true }, async (repository) => {
        expect((await verify(repository)).damaged).toEqual([]);
        const { snapshots } = await listSnapshots(repository);
        for (const [index, { root }] of snapshots.entries()) {
          const target = localTarget(join(place.folder, `restored-${index}`));
          expect((await restore(repository, { root, target })).failures).toEqual([]);
        }
        expect(snapshots.length).toBe(2);
      });
      expect(filesOf(join(place.folder, "restored-0"))).toEqual(files);
      expect(filesOf(join(place.folder, "restored-1"))).toEqual(filesOf(place.data));
    });

    test("a backup of what has not changed takes few requests", async () => {
      using place = temporary();
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = {
        ...serverOptions(server, "bucket"),
        endpoint: proxy.endpoint,
        prefix: "counted/",
      };
      writeFiles(place.data, { seed: 2 });
      await createIn(options);
      await withRepository(options, async (repository) => {
        await createSnapshot(repository, { path: place.data });
      });
      proxy.resetCounts();
      await withRepository(options, async (repository) => {
        await createSnapshot(repository, { path: place.data });
      });
      const { requests, byOperation } = proxy.counts;
      // Of these are two for opening the bucket; a session marker comes and goes.
      expect(requests).toBeLessThanOrEqual(25);
      expect(Object.fromEntries(byOperation)).toMatchObject({ PUT: 3, DELETE: 1 });
    });

    test("a repository that is open and does nothing asks for nothing, in an hour", async () => {
      using place = temporary();
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = {
        ...serverOptions(server, "bucket"),
        endpoint: proxy.endpoint,
        prefix: "idle/",
      };
      writeFiles(place.data, { seed: 3 });
      await createIn(options);
      vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "Date"], shouldAdvanceTime: true });
      try {
        const environment = systemEnvironment();
        const asked = adaptiveStore(await openS3Store(options), { environment });
        const store = limitStore(retryStore(asked, { environment }), { environment });
        const open = () => openRepository(store, { password, workers: 0, environment });
        {
          await using writer = await open();
          await createSnapshot(writer, { path: place.data });
          await writer.flush();
        }
        await using repository = await open();
        expect((await listSnapshots(repository)).snapshots).toHaveLength(1);
        proxy.resetCounts();
        await vi.advanceTimersByTimeAsync(3_600_000);
        await fetch(`${proxy.endpoint}/bucket`); // whatever was sent before has come through now
        expect(proxy.counts.requests).toBe(1);
        expect((await listSnapshots(repository)).snapshots).toHaveLength(1);
      } finally {
        vi.useRealTimers();
      }
    });

    test("opening is two requests, or one when told of object lock, and leaves nothing behind", async () => {
      await using proxy = await startFaultProxy({ target: server.endpoint });
      const options = {
        ...serverOptions(server, "bucket"),
        endpoint: proxy.endpoint,
        prefix: "untouched/",
      };
      await using store = await openS3Store(options);
      expect(proxy.counts.requests).toBe(2);
      await using told = await openS3Store({ ...options, objectLock: false });
      expect(proxy.counts.requests).toBe(3);
      await using later = await openS3Store({ ...options, objectLock: "when-needed" });
      expect(proxy.counts.requests).toBe(4);
      expect(proxy.counts.sentBytes).toBe(0);
      const retention = { mode: "governance", untilMs: Date.now() + 1000 } as const;
      const put = later.put(parseBlobId("x"), [], { retention });
      await expect(put).rejects.toMatchObject({ code: "unsupported" });
      expect(Object.fromEntries(proxy.counts.byOperation)).toEqual({ GET: 5 });
      for await (const { id } of store.list("")) {
        expect.fail(`${told.label} has ${id}`);
      }
    });
  });
}

async function createIn(options: S3StoreOptions): Promise<void> {
  await using store = await openS3Store(options);
  await createRepository(store, { password });
}

async function withRepository(
  options: S3StoreOptions,
  work: (repository: Repository) => Promise<void>,
): Promise<void> {
  const store = await openS3Store(options);
  await using repository = await openRepository(store, { password, workers: 0 });
  await work(repository);
  if (options.readOnly !== true) {
    await repository.flush();
  }
}

function temporary(): { readonly folder: string; readonly data: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "varve-s3-"));
  return {
    folder,
    data: join(folder, "data"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

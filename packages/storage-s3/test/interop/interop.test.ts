import { mkdtempSync, rmSync } from "node:fs";
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
import { type S3Account, startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test } from "vitest";
import { Kopia } from "../../../core/test/interop/kopia.ts";
import { openS3Store, type S3StoreOptions } from "../../src/index.ts";
import { filesOf, writeFiles } from "../files.ts";
import { serverOptions } from "../server-options.ts";

/** Stock Kopia opens the bucket that varve wrote, and the other way round; run with VARVE_TEST_KOPIA set. */

const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});
const password = "shared bucket";

for (const server of servers) {
  await server.createBucket("bucket");

  describe(server.name, () => {
    test("what varve wrote, stock Kopia verifies and restores", async () => {
      using place = temporary();
      const options = { ...serverOptions(server, "bucket"), prefix: "from-varve/" };
      const files = writeFiles(place.data, { seed: 1 });
      {
        await using store = await openS3Store(options);
        await createRepository(store, { password });
      }
      await withRepository(options, async (repository) => {
        await createSnapshot(repository, { path: place.data });
        await repository.flush();
      });
      using kopia = new Kopia({ password });
      kopia.run("repository", "connect", ...s3Flags(server, options));
      kopia.run("snapshot", "verify", "--verify-files-percent=100");
      kopia.run("content", "verify", "--full");
      const list = JSON.parse(kopia.run("snapshot", "list", "--all", "--json")) as { id: string }[];
      kopia.run("restore", list[0]?.id ?? "", join(place.folder, "restored"));
      expect(filesOf(join(place.folder, "restored"))).toEqual(files);
    });

    test("what stock Kopia wrote, varve verifies and restores, and adds to", async () => {
      using place = temporary();
      const options = { ...serverOptions(server, "bucket"), prefix: "from-kopia/" };
      const files = writeFiles(place.data, { seed: 2 });
      using kopia = new Kopia({ password });
      kopia.run("repository", "create", ...s3Flags(server, options));
      kopia.run("snapshot", "create", place.data);
      await withRepository(options, async (repository) => {
        expect((await verify(repository)).damaged).toEqual([]);
        const { snapshots } = await listSnapshots(repository);
        for (const { root } of snapshots) {
          const target = localTarget(join(place.folder, "restored"));
          await restore(repository, { root, target });
        }
        await createSnapshot(repository, { path: place.data });
        await repository.flush();
      });
      expect(filesOf(join(place.folder, "restored"))).toEqual(files);
      kopia.run("snapshot", "verify", "--verify-files-percent=100");
      kopia.run("snapshot", "create", place.data);
    });
  });
}

function s3Flags(
  { endpoint, accessKeyId, secretAccessKey }: S3Account,
  options: S3StoreOptions,
): string[] {
  return [
    "s3",
    `--bucket=${options.bucket}`,
    `--prefix=${options.prefix ?? ""}`,
    `--endpoint=${new URL(endpoint).host}`,
    "--disable-tls",
    `--access-key=${accessKeyId}`,
    `--secret-access-key=${secretAccessKey}`,
    "--override-username=tester",
    "--override-hostname=bench",
  ];
}

async function withRepository(
  options: S3StoreOptions,
  work: (repository: Repository) => Promise<void>,
): Promise<void> {
  const store = await openS3Store(options);
  const client = { hostname: "bench", username: "tester" };
  await using repository = await openRepository(store, { password, client, workers: 0 });
  await work(repository);
}

function temporary(): { readonly folder: string; readonly data: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "varve-s3-"));
  return {
    folder,
    data: join(folder, "data"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

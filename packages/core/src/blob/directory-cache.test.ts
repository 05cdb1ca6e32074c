import { chmod, mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { LogEvent } from "../base/environment.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { openCacheFolder } from "./directory-cache.ts";

const base = await mkdtemp(join(tmpdir(), "varve-cache-"));
afterAll(() => rm(base, { recursive: true }));
let count = 0;
const newPath = (): string => join(base, `${count++}`, "cache");

const bytes = (length: number, value = 1): Uint8Array => new Uint8Array(length).fill(value);

function quiet(): { environment: ReturnType<typeof seededEnvironment>; warnings: LogEvent[] } {
  const warnings: LogEvent[] = [];
  const seeded = seededEnvironment({ seed: 1 });
  const environment = { ...seeded, log: (event: LogEvent) => void warnings.push(event) };
  return { environment, warnings };
}

test("what was kept comes back whole or in part, in another process, too, for its repository alone", async () => {
  const path = newPath();
  const cache = openCacheFolder(path).cacheOf("aa");
  expect(await cache.get("q1")).toBeUndefined();
  await cache.put("q1", [bytes(3), bytes(2, 7)]);
  const other = openCacheFolder(path);
  expect(await other.cacheOf("aa").get("q1")).toEqual(Uint8Array.of(1, 1, 1, 7, 7));
  expect(await other.cacheOf("aa").get("q1", { offset: 2, length: 2 })).toEqual(
    Uint8Array.of(1, 7),
  );
  expect(await other.cacheOf("bb").get("q1")).toBeUndefined();
  await other.cacheOf("aa").drop("q1");
  expect(await cache.get("q1")).toBeUndefined();
  await cache.drop("q1");
});

test("a range beyond a file that was cut short is nothing", async () => {
  const path = newPath();
  const cache = openCacheFolder(path).cacheOf("aa");
  await cache.put("q1", [bytes(100)]);
  await truncate(join(path, "aa", "q1"), 50);
  expect(await cache.get("q1", { offset: 40, length: 20 })).toBeUndefined();
  expect(await cache.get("q1")).toHaveLength(50);
});

test("folder and files are their owner's alone, and backups pass them by", async () => {
  const path = newPath();
  await openCacheFolder(path)
    .cacheOf("aa")
    .put("q1", [bytes(1)]);
  const modes = await Promise.all(
    [path, join(path, "aa"), join(path, "aa", "q1")].map(async (file) => (await stat(file)).mode),
  );
  expect(modes.map((mode) => mode & 0o777)).toEqual([0o700, 0o700, 0o600]);
  expect(await readdir(path)).toContain("CACHEDIR.TAG");
});

test("stays under its bound by dropping what was not used for longest", async () => {
  const path = newPath();
  const folder = openCacheFolder(path, { maxBytes: 1600, environment: quiet().environment });
  const cache = folder.cacheOf("aa");
  for (let index = 0; index < 40; index++) {
    await cache.put(`q${index}`, [bytes(100)]);
    const seconds = 1000 + (index === 3 ? 1000 : index);
    await utimes(join(path, "aa", `q${index}`), seconds, seconds).catch(() => {});
    const { bytes: held } = await folder.usage();
    expect(held).toBeLessThanOrEqual(1600);
  }
  expect(await cache.get("q39")).toBeDefined();
  expect(await cache.get("q3")).toBeDefined();
  expect(await cache.get("q0")).toBeUndefined();
});

test("an entry that is read is young again", async () => {
  const path = newPath();
  const { environment } = quiet();
  const cache = openCacheFolder(path, { environment }).cacheOf("aa");
  await cache.put("q1", [bytes(1)]);
  await utimes(join(path, "aa", "q1"), 1000, 1000);
  await cache.get("q1");
  expect((await stat(join(path, "aa", "q1"))).mtimeMs).toBe(environment.nowMs());
});

test("what is larger than half the bound is not kept, and nothing with a bound of 0", async () => {
  const path = newPath();
  await openCacheFolder(path, { maxBytes: 100 })
    .cacheOf("aa")
    .put("q1", [bytes(51)]);
  await openCacheFolder(path, { maxBytes: 0 })
    .cacheOf("aa")
    .put("q1", [bytes(1)]);
  expect((await openCacheFolder(path).usage()).entries).toBe(0);
});

test("a folder that cannot be made or written is warned of once, and nothing else happens", async () => {
  const path = join(base, "file");
  await writeFile(path, "in the way");
  const { environment, warnings } = quiet();
  const cache = openCacheFolder(path, { environment }).cacheOf("aa");
  await cache.put("q1", [bytes(1)]);
  await cache.put("q2", [bytes(1)]);
  expect(await cache.get("q1")).toBeUndefined();
  await cache.drop("q1");
  expect(warnings.map(({ level }) => level)).toEqual(["warning"]);
});

test("leftovers of writers that died are removed, and clearing removes all entries", async () => {
  const path = newPath();
  const folder = openCacheFolder(path);
  await folder.cacheOf("aa").put("q1", [bytes(10)]);
  await folder.cacheOf("bb").put("q1", [bytes(20)]);
  await writeFile(join(path, "aa", "tmp.old"), bytes(1000));
  await utimes(join(path, "aa", "tmp.old"), 1000, 1000);
  expect(await folder.usage()).toMatchObject({ entries: 2, bytes: 30 });
  expect(await readdir(join(path, "aa"))).toEqual(["q1"]);
  await chmod(join(path, "aa", "q1"), 0o400);
  await folder.clear();
  expect(await folder.usage()).toMatchObject({ entries: 0, bytes: 0 });
});

test("many writers of one entry at once leave one of theirs, whole", async () => {
  const path = newPath();
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      openCacheFolder(path)
        .cacheOf("aa")
        .put("q1", [bytes(1000, index), bytes(1000, index)]),
    ),
  );
  const kept = await openCacheFolder(path).cacheOf("aa").get("q1");
  expect(kept).toEqual(bytes(2000, kept?.[0]));
  expect(await readdir(join(path, "aa"))).toEqual(["q1"]);
});

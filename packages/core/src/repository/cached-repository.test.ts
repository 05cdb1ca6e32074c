import { expect, test } from "vitest";
import { isVarveError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { memoryCache } from "../../test/memory-cache.ts";
import type { CacheSource } from "../blob/blob-cache.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import type { ContentId } from "../index/content-id.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { recoverIndex } from "../repair/recover-index.ts";
import { verifyContents } from "../verify/verify-contents.ts";
import { createRepository } from "./create-repository.ts";
import { openRepository } from "./open-repository.ts";
import type { Repository } from "./repository.ts";

const password = "correct horse";
const environment = seededEnvironment({ seed: 9 });
const RECORDS = 12;

/** Counts the gets of anything but the format. */
function counting(store: BlobStore): { store: BlobStore; gets: BlobId[] } {
  const gets: BlobId[] = [];
  const get: BlobStore["get"] = (id, options) => {
    if (!id.startsWith("kopia.")) {
      gets.push(id);
    }
    return store.get(id, options);
  };
  return { store: { ...passThrough(store), get }, gets };
}

interface World {
  readonly store: BlobStore;
  readonly gets: BlobId[];
  readonly ids: readonly ContentId[];
  readonly open: (cache?: CacheSource) => Promise<Repository>;
}

/** A repository with two index blobs and two packs of directory records. */
async function world(writer?: CacheSource): Promise<World> {
  const { store, gets } = counting(createMemoryStore({ environment }));
  await createRepository(store, { password, keyDerivation: "pbkdf2-sha256-600000", environment });
  const open = (cache?: CacheSource): Promise<Repository> =>
    openRepository(store, { password, environment, cache });
  await using repository = await open(writer);
  const ids: ContentId[] = [];
  for (let number = 0; number < RECORDS; number++) {
    ids.push(await repository.contents.write(utf8(`record ${number}`), { prefix: "k" }));
    if (number === RECORDS / 2) {
      await repository.flush();
    }
  }
  await repository.flush();
  gets.length = 0;
  return { store, gets, ids, open };
}

async function readAll(repository: Repository, ids: readonly ContentId[]): Promise<string[]> {
  const texts: string[] = [];
  for (const id of ids) {
    texts.push(new TextDecoder().decode(await repository.contents.read(id)));
  }
  return texts;
}

const EXPECTED = Array.from({ length: RECORDS }, (_, number) => `record ${number}`);

test("index blobs and metadata are fetched by the first run, and by no later one", async () => {
  const { gets, ids, open } = await world();
  const cache = memoryCache();
  for (const expected of [
    { x: 3, q: 8 },
    { x: 0, q: 0 },
  ]) {
    gets.length = 0;
    await using repository = await open(cache);
    expect(await readAll(repository, ids)).toEqual(EXPECTED);
    const of = (letter: string): number => gets.filter((id) => id.startsWith(letter)).length;
    expect({ x: of("x"), q: of("q") }).toEqual(expected);
  }
  gets.length = 0;
  await using uncached = await open();
  await readAll(uncached, ids);
  expect(gets).toHaveLength(11);
});

test("what a run writes itself is not fetched at all", async () => {
  const cache = memoryCache();
  const { gets, ids, open } = await world(cache);
  await using repository = await open(cache);
  expect(await readAll(repository, ids)).toEqual(EXPECTED);
  expect(gets).toEqual([]);
});

test.each(["flipped", "cut short", "emptied"])(
  "entries that are %s are fetched anew, and good from then on",
  async (damage) => {
    const cache = memoryCache();
    const { gets, ids, open } = await world(cache);
    const whole = new Map(cache.entries);
    for (const [name, bytes] of whole) {
      const flipped = Uint8Array.from(bytes, (byte, index) => (index % 7 === 3 ? byte ^ 1 : byte));
      const damaged = { flipped, "cut short": bytes.slice(0, 5), emptied: new Uint8Array(0) };
      cache.entries.set(name, damaged[damage as keyof typeof damaged]);
    }
    {
      await using repository = await open(cache);
      expect(await readAll(repository, ids)).toEqual(EXPECTED);
      expect(gets.length).toBeGreaterThanOrEqual(4);
    }
    gets.length = 0;
    await using again = await open(cache);
    expect(await readAll(again, ids)).toEqual(EXPECTED);
    expect(gets).toEqual([]);
    for (const [name, bytes] of whole) {
      expect([undefined, bytes]).toContainEqual(cache.entries.get(name));
    }
  },
);

test("verification reads storage, whatever the cache has", async () => {
  const cache = memoryCache();
  const { store, ids, open } = await world(cache);
  await using repository = await open(cache);
  await readAll(repository, ids);
  const pack = repository.contents.info(ids[0] ?? ("" as ContentId))?.packBlobId; // there are ids
  const id = parseBlobId(pack ?? "");
  const bytes = await store.get(id);
  await store.put(id, [bytes.map((byte) => byte ^ 1)]);
  const { unreadableContents } = await verifyContents(repository, { readFraction: 1 });
  expect(unreadableContents).toBe(RECORDS / 2 + 1);
});

test("verification names an index blob that only the cache still has whole", async () => {
  const cache = memoryCache();
  const { store, open } = await world(cache);
  for await (const { id } of store.list("xn")) {
    const bytes = await store.get(id);
    await store.put(id, [bytes.map((byte) => byte ^ 1)]);
  }
  await using repository = await open(cache);
  expect(repository.contents.damagedIndexBlobs).toEqual([]);
  await verifyContents(repository, {});
  expect(repository.contents.damagedIndexBlobs).toHaveLength(3);
});

test("a listing is never taken from the cache: what others commit is seen at once", async () => {
  const cache = memoryCache();
  const { open } = await world(cache);
  await using writer = await open();
  await using reader = await open(cache);
  const id = await writer.contents.write(utf8("new"), { prefix: "k" });
  await writer.flush();
  await reader.refresh();
  expect(new TextDecoder().decode(await reader.contents.read(id))).toBe("new");
});

test("an index is not recovered while the cache hides what storage has lost", async () => {
  const cache = memoryCache();
  const { store, open } = await world(cache);
  for await (const { id } of store.list("xn")) {
    await store.put(id, [new Uint8Array(9)]);
  }
  await using cached = await open(cache);
  await expect(recoverIndex(cached, { commit: true })).rejects.toSatisfy((error) =>
    isVarveError(error, "invalid-argument"),
  );
  await using repository = await open();
  const { recovered, removed } = await recoverIndex(repository, { commit: true });
  expect([recovered > RECORDS, removed.length]).toEqual([true, 3]);
});

import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createFormat } from "../format/format-blob.ts";
import { writeNewFormat } from "../format/format-store.ts";
import type { ObjectId } from "../object/object-id.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { openWithFormat } from "./open-repository.ts";
import type { Repository } from "./repository.ts";

/** Spec §0 and style §10: whatever write a client dies at, what was flushed before stays, and the next client goes on. */

const password = "pw";
const crypto = await openCrypto();
const codecs = await openCodecs();
const OBJECT_BYTES = 150_000;

async function* noise(seed: number): AsyncGenerator<Uint8Array> {
  yield seededEnvironment({ seed }).randomBytes(OBJECT_BYTES);
}

async function newRepository(version: number) {
  const store = createMemoryStore();
  const environment = seededEnvironment({ seed: 1 });
  const deps = { crypto, environment };
  const created = await createFormat(
    { password, version, splitter: "FIXED-128K", keyDerivation: "pbkdf2-sha256-600000" },
    deps,
  );
  const format = { ...(await writeNewFormat(store, created, deps)), maxPackSize: 200_000 };
  const open = async (through: BlobStore): Promise<Repository> =>
    await openWithFormat(through, format, { password, environment, crypto, codecs });
  return { store, open };
}

/** Objects, metadata and manifests, in two flushes. */
async function work(repository: Repository, firstSeed: number): Promise<ObjectId[]> {
  const ids: ObjectId[] = [];
  for (let seed = firstSeed; seed < firstSeed + 6; seed++) {
    ids.push((await repository.objects.write(noise(seed))).id);
    if (seed === firstSeed + 3) {
      await repository.flush();
    }
  }
  ids.push((await repository.objects.write(noise(firstSeed + 6), { prefix: "k" })).id);
  const [old] = await repository.manifests.find({ type: "test" });
  await repository.manifests.put({ type: "test" }, ids);
  if (old !== undefined) {
    await repository.manifests.delete(old.id);
  }
  await repository.flush();
  return ids;
}

async function requireReadable(repository: Repository, ids: readonly ObjectId[]): Promise<void> {
  for (const id of ids) {
    const reader = await repository.objects.open(id);
    expect((await reader.read({ offset: 0, length: reader.size })).length).toBe(OBJECT_BYTES);
  }
}

/** Every content that an index names must be there. */
async function requireWhole(repository: Repository): Promise<void> {
  for (const { id } of repository.contents.entries({ deleted: true })) {
    await repository.contents.read(id);
  }
  const manifests = await repository.manifests.find({ type: "test" });
  expect(repository.manifests.damaged).toEqual([]);
  expect(manifests.length).toBe(1);
  const payload = (await repository.manifests.get(manifests[0]?.id ?? missing())).payload;
  await requireReadable(repository, payload as ObjectId[]); // written by `work`
}

function missing(): never {
  throw new Error("no manifest");
}

test.each([
  [1, "lost"],
  [1, "half-acknowledged"],
  [3, "lost"],
  [3, "half-acknowledged"],
] as const)("version %i survives a crash at every write that is %s", async (version, outcome) => {
  let writes = Number.POSITIVE_INFINITY;
  for (let crashAt = 1; crashAt <= writes; crashAt++) {
    const { store, open } = await newRepository(version);
    const first = await open(store);
    const before = await work(first, 100);
    await first[Symbol.asyncDispose]();

    const faulty = faultyStore(store, {
      write: ({ number }) => (number === crashAt ? { outcome, crash: true } : undefined),
    });
    const dying = await open(faulty);
    const dies = await work(dying, 200).then(
      () => false,
      () => true,
    );
    await dying[Symbol.asyncDispose]();
    if (!dies) {
      // Only the removal of the last marker may go wrong unnoticed.
      writes = faulty.writes;
    }

    const survivor = await open(store);
    await requireReadable(survivor, before);
    await requireWhole(survivor);
    await requireReadable(survivor, await work(survivor, 200));
    await requireWhole(await open(store));
    await survivor[Symbol.asyncDispose]();
  }
  expect(writes).toBeGreaterThan(8);
});
